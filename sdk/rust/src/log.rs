//! Lines for the operator's log, and for the client that asked for logs.
//!
//! The macros take what `format!` takes: `aih_plugin::info!("{} pages", n)`. A call has a budget of lines; the hub
//! counts and drops what is beyond. Never log a secret.

use serde::Serialize;

use crate::backend;
pub use crate::wit::host::log::Level;

/// Writes one line.
pub fn write(level: Level, message: &str) {
    backend::write(level, message, None);
}

/// Writes one line with structured fields, which have to be a JSON object. What cannot be written as JSON is
/// left out.
pub fn write_with(level: Level, message: &str, fields: &impl Serialize) {
    let fields = serde_json::to_string(fields)
        .ok()
        .filter(|json| json.starts_with('{'));
    backend::write(level, message, fields.as_deref());
}

macro_rules! level {
    ($dollar:tt $name:ident $level:ident) => {
        #[doc = concat!("Writes a line at the level `", stringify!($name), "`; takes what `format!` takes.")]
        #[macro_export]
        macro_rules! $name {
            ($dollar($dollar text:tt)*) => {
                $crate::log::write($crate::log::Level::$level, &::std::format!($dollar($dollar text)*))
            };
        }
    };
}
level!($ trace Trace);
level!($ debug Debug);
level!($ info Info);
level!($ warn Warn);
level!($ error Error);
