//! The forms of a secret that no decoding of the text shows: Base64 (RFC 4648) and hexadecimal digits, and parts of
//! long forms, which stand alone where a text was cut or wrapped.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::filter::WINDOW;

/// A form of this many bytes or more is known in parts too.
const LONG: usize = 32;
/// Bytes of a part.
const PART: usize = 16;
/// Most parts of one form.
const MOST_PARTS: usize = 512;

/// All forms of `secret`, each at least eight bytes long.
pub(super) fn of(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.as_bytes().to_vec()];
    if secret.contains(' ') {
        // As HTML forms write it.
        forms.push(secret.replace(' ', "+").into_bytes());
    }
    let mut wrapped = vec![secret.as_bytes().to_vec()];
    for skipped in 0..3 {
        let encoded = base64(secret.as_bytes(), skipped);
        wrapped.extend(encoded.clone());
        forms.extend(encoded);
    }
    let lower: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.push(lower.to_uppercase().into_bytes());
    forms.push(lower.into_bytes());
    for form in wrapped.iter().filter(|form| form.len() >= LONG) {
        let parts = form.chunks_exact(PART).take(MOST_PARTS);
        forms.extend(parts.filter(|part| is_random(part)).map(<[u8]>::to_vec));
    }
    forms.retain(|form| form.len() >= WINDOW);
    forms
}

/// The characters that `secret` alone decides in Base64 when `before` bytes (modulo three) stand in front of it, in
/// both alphabets; and the same with the last character and the padding, as at the end of a text.
fn base64(secret: &[u8], before: usize) -> Vec<Vec<u8>> {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(secret);
    // The first characters hold bits of what stands before, the last one may hold bits of what follows.
    let first = (before * 8).div_ceil(6);
    let whole = bytes.len() * 8 / 6;
    let partial = !(bytes.len() * 8).is_multiple_of(6);
    let mut forms = Vec::new();
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        let text = engine.encode(&bytes);
        forms.extend(text.get(first..whole).map(|text| text.as_bytes().to_vec()));
        if partial {
            let end = text.get(first..).unwrap_or_default();
            let padding = (4 - text.len() % 4) % 4;
            forms.push(format!("{end}{}", "=".repeat(padding)).into_bytes());
        }
    }
    forms
}

/// Whether a part of a secret is nothing that other texts have too, such as the start of an address.
fn is_random(part: &[u8]) -> bool {
    let digits = part.iter().filter(|byte| byte.is_ascii_digit()).count();
    let large = part.iter().filter(|byte| byte.is_ascii_uppercase()).count();
    let small = part.iter().filter(|byte| byte.is_ascii_lowercase()).count();
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'_' | b'-' | b'=');
    part.iter().all(token) && [digits, large, small].iter().filter(|count| **count > 0).count() > 1
}
