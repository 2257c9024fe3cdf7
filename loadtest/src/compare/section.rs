//! The section of a document between two marker comments.

/// Before the section.
pub const BEGIN: &str = "<!-- loadtest compare: begin -->";
/// Behind the section.
pub const END: &str = "<!-- loadtest compare: end -->";

/// Why a document has no section that could be replaced.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SectionError {
    /// A marker is missing, or stands there more than once.
    #[error("{marker:?} must stand there once on a line of its own, and does {count} times")]
    Count {
        /// The marker.
        marker: &'static str,
        /// How often it stands there.
        count: usize,
    },
    /// The end comes first.
    #[error("{END:?} stands before {BEGIN:?}")]
    Order,
}

/// `document` with `section` between the markers; all else stays as it is.
///
/// # Errors
/// [`SectionError`] where the markers don't enclose one section.
pub fn replace(document: &str, section: &str) -> Result<String, SectionError> {
    let (_, inside) = position(document, BEGIN)?;
    let (outside, _) = position(document, END)?;
    if outside < inside {
        return Err(SectionError::Order);
    }
    Ok(format!(
        "{}\n{}\n\n{}",
        &document[..inside],
        section.trim_matches('\n'),
        &document[outside..]
    ))
}

/// Where the line of a marker begins, and where the next line does.
fn position(document: &str, marker: &'static str) -> Result<(usize, usize), SectionError> {
    let (mut found, mut at, mut count) = ((0, 0), 0, 0);
    for line in document.split_inclusive('\n') {
        if line.trim_end() == marker {
            found = (at, at + line.len());
            count += 1;
        }
        at += line.len();
    }
    if count == 1 {
        Ok(found)
    } else {
        Err(SectionError::Count { marker, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_changes() {
        let document = format!("# Title\n\nbefore\n\n{BEGIN}\nold\nlines\n{END}\n\nbehind\n");
        let replaced = replace(&document, "\nnew\n").unwrap();
        assert_eq!(
            replaced,
            format!("# Title\n\nbefore\n\n{BEGIN}\n\nnew\n\n{END}\n\nbehind\n")
        );
        // Replacing again changes nothing more.
        assert_eq!(replace(&replaced, "new").unwrap(), replaced);
    }

    #[test]
    fn an_empty_section_is_filled() {
        let document = format!("{BEGIN}\n{END}");
        assert_eq!(
            replace(&document, "new").unwrap(),
            format!("{BEGIN}\n\nnew\n\n{END}")
        );
    }

    #[test]
    fn markers_that_enclose_no_section_are_refused() {
        let missing = |marker, count| Err(SectionError::Count { marker, count });
        assert_eq!(replace("text", "new"), missing(BEGIN, 0));
        assert_eq!(replace(&format!("{BEGIN}\n"), "new"), missing(END, 0));
        assert_eq!(
            replace(&format!("{BEGIN}\n{BEGIN}\n{END}\n"), "new"),
            missing(BEGIN, 2)
        );
        assert_eq!(
            replace(&format!("{END}\n{BEGIN}\n"), "new"),
            Err(SectionError::Order)
        );
        // Within a sentence a marker is text.
        assert_eq!(
            replace(&format!("see {BEGIN} and {END}\n"), "new"),
            missing(BEGIN, 0)
        );
    }
}
