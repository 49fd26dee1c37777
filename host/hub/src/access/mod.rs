//! Who may do what.

/// Who sends a request.
#[derive(Debug)]
pub struct Principal;
