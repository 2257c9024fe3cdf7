//! An error with all its causes, in one line: for the log, for operators, and for what crosses a socket.

use std::error::Error;
use std::fmt;

/// Shows the error, then each of its causes behind a colon.
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        for cause in causes(self.0) {
            let text = cause.to_string();
            // Many errors already print their source; a repetition tells nothing.
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
        }
        Ok(())
    }
}

/// What is behind an error, from the nearest to the last.
pub fn causes<'a>(error: &'a (dyn Error + 'a)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Layer {
        #[error("outer")]
        Outer(#[source] Box<Layer>),
        #[error("middle: {0}")]
        Middle(#[source] Box<Layer>),
        #[error("inner")]
        Inner,
    }

    #[test]
    fn every_cause_is_told_once() {
        let error = Layer::Outer(Box::new(Layer::Middle(Box::new(Layer::Inner))));
        assert_eq!(Chain(&error).to_string(), "outer: middle: inner");
        assert_eq!(causes(&error).count(), 2);
        assert_eq!(Chain(&Layer::Inner).to_string(), "inner");
    }
}
