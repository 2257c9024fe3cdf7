//! Splits batches by a limit of bytes.

/// `items` in parts, in their order, of at most `limit` bytes by `size`; a single item may be larger.
pub fn parts<T>(mut items: &[T], limit: usize, size: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut parts = Vec::new();
    while !items.is_empty() {
        let mut bytes = 0;
        let fitting = items
            .iter()
            .take_while(|item| {
                bytes += size(item);
                bytes <= limit
            })
            .count();
        let (part, rest) = items.split_at(fitting.max(1));
        parts.push(part);
        items = rest;
    }
    parts
}
