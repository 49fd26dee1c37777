//! The tool `hash`.

use aih_plugin::{Json, arguments, structured, tool};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

/// A hash function.
#[arguments]
#[derive(Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    Sha256,
    Sha512,
    Blake3,
    /// Broken: for comparison with what others published only.
    Sha1,
    /// Broken: for comparison with what others published only.
    Md5,
}

#[arguments]
pub struct HashArguments {
    /// The text, hashed as UTF-8 and without a line end of its own.
    text: String,
    /// The hash function; sha256 if left out.
    algorithm: Option<Algorithm>,
}

#[structured]
pub struct HashResult {
    /// The hash in lower-case hexadecimal.
    hash: String,
    /// How many bytes were hashed.
    bytes: usize,
}

/// Computes the hash of a text: SHA-256, SHA-512, BLAKE3, SHA-1 or MD5, in hexadecimal.
#[tool(title = "Hash a text", read_only, idempotent, open_world = false)]
pub async fn hash(args: HashArguments) -> Json<HashResult> {
    let bytes = args.text.as_bytes();
    let hash = match args.algorithm.unwrap_or(Algorithm::Sha256) {
        Algorithm::Sha256 => hex(&Sha256::digest(bytes)),
        Algorithm::Sha512 => hex(&Sha512::digest(bytes)),
        Algorithm::Sha1 => hex(&Sha1::digest(bytes)),
        Algorithm::Md5 => hex(&Md5::digest(bytes)),
        Algorithm::Blake3 => hex(blake3::hash(bytes).as_bytes()),
    };
    Json(HashResult {
        hash,
        bytes: bytes.len(),
    })
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.map(|nibble| DIGITS[usize::from(nibble)]).collect()
}

#[cfg(test)]
mod tests {
    use aih_plugin::testing::block_on;

    use super::*;

    #[test]
    fn hashes_of_abc() {
        // FIPS 180-4, RFC 1321, and the BLAKE3 reference implementation.
        for (algorithm, expected) in [
            (
                None,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (Some(Algorithm::Md5), "900150983cd24fb0d6963f7d28e17f72"),
            (Some(Algorithm::Sha1), "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                Some(Algorithm::Sha512),
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                 2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
            (
                Some(Algorithm::Blake3),
                "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
            ),
        ] {
            let Json(result) = block_on(hash(HashArguments {
                text: "abc".into(),
                algorithm,
            }));
            assert_eq!(result.hash, expected);
        }
    }
}
