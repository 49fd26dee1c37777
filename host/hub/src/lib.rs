//! AI Infrastructure Hub.
