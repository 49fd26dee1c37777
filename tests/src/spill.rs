//! The spellings in which a program can tell a secret, for the server that tells all that it was given
//! (`bin/fixture-spill.rs`) and for the test that looks for them.

use base64::prelude::*;

/// A secret in spellings that no two share: as it is, escaped, percent-encoded, in Base64 at each place of a longer
/// text, and in hexadecimal digits. Each is what stands for the secret alone, so that it can be searched for.
pub fn spellings(secret: &str) -> Vec<String> {
    let json = serde_json::to_string(secret).unwrap();
    let bytes = |write: fn(u8) -> String| secret.bytes().map(write).collect::<String>();
    let mut all = vec![
        secret.to_owned(),
        json[1..json.len() - 1].to_owned(),
        secret
            .encode_utf16()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect(),
        bytes(|byte| format!("%{byte:02X}")),
        bytes(|byte| format!("%{byte:02x}")),
        bytes(|byte| format!("{byte:02x}")),
        bytes(|byte| format!("{byte:02X}")),
    ];
    for (before, from) in [("", 0), ("u", 2), ("u:", 3)] {
        let text = format!("{before}{secret}");
        for encoded in [
            BASE64_STANDARD_NO_PAD.encode(&text),
            BASE64_URL_SAFE_NO_PAD.encode(&text),
        ] {
            // Without the characters that hold bits of what stands beside the secret.
            all.push(encoded[from..text.len() * 8 / 6].to_owned());
        }
    }
    all.sort();
    all.dedup();
    all
}
