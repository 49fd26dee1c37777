//! `NAME.aih.yaml`: the grants that a plugin's author asks for.
//!
//! The manifest is next to the component or its source, or inside of the component as the custom section
//! `aih-manifest`. It grants nothing. The operator reads it with `aih plugin inspect`, and writes the grants into
//! `aih-config.yaml`.

use std::path::{Path, PathBuf};

/// The custom section of a component that may hold the manifest.
pub const SECTION: &str = "aih-manifest";
/// Bytes of a manifest.
const LIMIT: u64 = 64 << 10;

/// What the author says.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// What it is called when the operator has no other name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The file that it speaks of, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its own version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The grants that it asks for, as they would stand in `aih-config.yaml`.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub grants: serde_json::Map<String, serde_json::Value>,
    /// The limits that it asks for.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub limits: serde_json::Map<String, serde_json::Value>,
    /// The settings that it reads, with a value to begin with.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// A manifest that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {why}")]
pub struct ManifestError {
    /// The file, or the section.
    pub place: String,
    /// What is wrong.
    pub why: String,
}

impl Manifest {
    /// The manifest of a plugin's file: beside it, or in the component.
    ///
    /// # Errors
    /// There is one and it cannot be read.
    pub fn find(file: &Path, component: Option<&[u8]>) -> Result<Option<Self>, ManifestError> {
        let path = beside(file);
        let fault = |why: String| ManifestError {
            place: path.display().to_string(),
            why,
        };
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() > LIMIT => {
                return Err(fault(format!("is larger than {LIMIT} bytes")));
            }
            Ok(_) => {
                let text = std::fs::read_to_string(&path).map_err(|error| fault(error.to_string()))?;
                return parse(&text).map(Some).map_err(fault);
            }
            Err(_) => {}
        }
        let section = component.and_then(|component| custom_section(component, SECTION));
        let Some(section) = section else {
            return Ok(None);
        };
        let fault = |why: String| ManifestError {
            place: format!("the section `{SECTION}` of {}", file.display()),
            why,
        };
        let text = std::str::from_utf8(section).map_err(|error| fault(error.to_string()))?;
        parse(text).map(Some).map_err(fault)
    }
}

/// `x.wasm` and `x.js` have `x.aih.yaml` beside them.
fn beside(file: &Path) -> PathBuf {
    file.with_extension("aih.yaml")
}

fn parse(text: &str) -> Result<Manifest, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// The content of a custom section at a component's top level.
fn custom_section<'a>(component: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = component.get(8..)?;
    while let Some((&id, after)) = rest.split_first() {
        let (size, after) = leb128(after)?;
        let (section, next) = after.split_at_checked(size)?;
        if id == 0 {
            let (length, content) = leb128(section)?;
            let (found, content) = content.split_at_checked(length)?;
            if found == name.as_bytes() {
                return Some(content);
            }
        }
        rest = next;
    }
    None
}

/// An unsigned LEB128 number of at most 32 bits, and what follows it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u32;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        let part = u32::from(byte & 0x7f);
        value |= part.checked_shl(u32::try_from(index).ok()? * 7)?;
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component_with(section: &str, text: &str) -> Vec<u8> {
        let mut body = vec![u8::try_from(section.len()).unwrap()];
        body.extend_from_slice(section.as_bytes());
        body.extend_from_slice(text.as_bytes());
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        bytes.push(0);
        let mut size = body.len();
        while size >= 0x80 {
            bytes.push(u8::try_from(size & 0x7f).unwrap() | 0x80);
            size >>= 7;
        }
        bytes.push(u8::try_from(size).unwrap());
        bytes.extend_from_slice(&body);
        bytes
    }

    #[test]
    fn a_section_of_the_component_is_read() {
        let text = format!(
            "name: x\ngrants:\n  http: ['https://example.com']\n# {}\n",
            "y".repeat(200)
        );
        let component = component_with(SECTION, &text);
        let manifest = Manifest::find(Path::new("/nowhere/x.wasm"), Some(&component))
            .unwrap()
            .unwrap();
        assert_eq!(manifest.name.as_deref(), Some("x"));
        assert!(manifest.grants.contains_key("http"));
        let other = component_with("other", &text);
        assert_eq!(
            Manifest::find(Path::new("/nowhere/x.wasm"), Some(&other)).unwrap(),
            None
        );
    }

    #[test]
    fn a_broken_component_has_no_section() {
        let component = component_with(SECTION, "name: x");
        for end in 0..component.len() {
            let _ = custom_section(component.get(..end).unwrap(), SECTION);
        }
        assert_eq!(
            custom_section(b"\0asm\x0d\0\x01\0\0\xff\xff\xff\xff\xff\xff", SECTION),
            None
        );
    }

    #[test]
    fn an_unknown_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.aih.yaml"), "grant: {}\n").unwrap();
        let error = Manifest::find(&folder.path().join("x.js"), None).unwrap_err();
        assert!(error.to_string().contains("grant"), "{error}");
    }
}
