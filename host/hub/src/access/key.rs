//! API keys: making them, recognising them, and who they stand for.
//!
//! The hub keeps only SHA-256 digests. Keys that it makes carry 256 bits of chance, so a plain digest is
//! enough: there is nothing to guess. This module must never write a key anywhere, must never take one
//! from a query string (those end in logs and histories), and must never stop comparing early.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use rand::TryRngCore as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::permission::PermissionSet;

/// What every key made by the hub starts with, so that secret scanners find a leaked one.
pub const KEY_PREFIX: &str = "aih_";

/// The longest key a request may present, in bytes. Keys made by the hub have 47.
pub const MAX_KEY_LENGTH: usize = 1024;

/// The header beside `Authorization` that may carry a key.
pub const KEY_HEADER: &str = "x-api-key";

const HASH_PREFIX: &str = "sha256:";

/// A key in plain text, right after it was made. Cannot be printed by accident.
#[derive(Debug, Clone)]
pub struct ApiKey(SecretString);

/// The system's random source failed, so no key can be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a key: the random source of the operating system failed: {0}")]
pub struct RandomSourceError(#[from] rand::rand_core::OsError);

impl ApiKey {
    /// Makes a key: `aih_` and 43 characters of base64url, 256 bits from the operating system.
    ///
    /// # Errors
    /// The random source of the operating system failed.
    pub fn generate() -> Result<Self, RandomSourceError> {
        let mut bytes = [0_u8; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut bytes)?;
        let mut text = String::with_capacity(KEY_PREFIX.len() + 43);
        text.push_str(KEY_PREFIX);
        URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
        Ok(Self(text.into()))
    }

    /// The key itself, to be shown once to the person who will use it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What is stored in place of the key.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.expose().as_bytes())
    }
}

/// The stored form of a key: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyHash(Stored);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Stored {
    Digest([u8; 32]),
    /// An example that was never filled in, such as `sha256:abc123...`.
    Placeholder(Box<str>),
}

/// A `key_hash` that is not a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyHashError {
    /// It does not start with `sha256:`. The text is not repeated: it may be the key itself.
    #[error("key_hash must be \"sha256:\" and 64 hexadecimal digits; `aih key hash` makes it from a key")]
    Algorithm,
    /// It is not 64 hexadecimal digits.
    #[error(
        "key_hash has {length} characters after \"sha256:\" where 64 hexadecimal digits must be; `aih key hash` makes it from a key"
    )]
    Digits {
        /// How many characters there are.
        length: usize,
    },
}

impl KeyHash {
    /// The hash of a presented key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(Stored::Digest(Sha256::digest(key).into()))
    }

    /// Reads a stored hash. A placeholder, some digits and `...`, is accepted and never matches any key.
    ///
    /// # Errors
    /// Another algorithm than `sha256:`, or something else than 64 hexadecimal digits.
    pub fn parse(written: &str) -> Result<Self, KeyHashError> {
        let hex = written.strip_prefix(HASH_PREFIX).ok_or(KeyHashError::Algorithm)?;
        let start = hex.strip_suffix("...").or_else(|| hex.strip_suffix('…'));
        if start.is_some_and(|start| start.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Ok(Self(Stored::Placeholder(written.into())));
        }
        digest_from_hex(hex)
            .map(|digest| Self(Stored::Digest(digest)))
            .ok_or(KeyHashError::Digits {
                length: hex.chars().count(),
            })
    }

    /// Whether this is an example that was never filled in.
    #[must_use]
    pub fn is_placeholder(&self) -> bool {
        matches!(self.0, Stored::Placeholder(_))
    }
}

fn digest_from_hex(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0_u8; 32];
    if hex.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        for &digit in pair {
            *byte = (*byte << 4) | u8::try_from(char::from(digit).to_digit(16)?).ok()?;
        }
    }
    Some(digest)
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Stored::Placeholder(written) => f.write_str(written),
            Stored::Digest(digest) => {
                f.write_str(HASH_PREFIX)?;
                digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_placeholder() {
            "KeyHash(placeholder)"
        } else {
            "KeyHash(…)"
        })
    }
}

/// Names a key in sessions, caches and limits. The same key keeps its id over reloads, restarts and
/// replicas; it says nothing about the key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(u64);

impl KeyId {
    /// The caller of a hub that runs without keys.
    pub const ANONYMOUS: Self = Self(0);

    /// The number behind the id.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The start of a digest of the digest: equal for equal keys, and no part of what is compared.
    fn of(digest: &[u8; 32]) -> Self {
        let id = Sha256::new()
            .chain_update(b"aih key id\0")
            .chain_update(digest)
            .finalize();
        let id = id
            .iter()
            .take(8)
            .fold(0_u64, |id, byte| (id << 8) | u64::from(*byte));
        Self(id.max(1))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Whether the hub rewrites what a client is known not to read (`compat`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Compat {
    /// By the name that the client gives in its greeting.
    #[default]
    Auto,
    /// Never: what servers say keeps its bytes.
    Off,
}

/// Who is calling: the holder of one key, with what this key may see and use.
///
/// A principal never changes. A key that is removed, or that gets another name, hash or other permissions, ends
/// the principal: [`Principal::permissions`] is empty from then on, and [`Principal::ended`] returns. See
/// [`Authority`](super::Authority).
#[derive(Debug, Clone)]
pub struct Principal {
    /// The key's name in the configuration.
    pub name: Arc<str>,
    permissions: PermissionSet,
    /// What sessions and limits are bound to.
    pub id: KeyId,
    /// Whether lists and results are written for what its clients are known to read; `None` for what the server-wide key
    /// says.
    pub compat: Option<Compat>,
    lifetime: Arc<PrincipalLifetime>,
}

/// For how long a principal counts. Clones of a principal share it.
#[derive(Debug)]
struct PrincipalLifetime {
    generation: u64,
    /// The same as `ended`, to be read without a lock.
    over: AtomicBool,
    ended: CancellationToken,
}

/// What a principal that has ended may see and use.
static NOTHING: LazyLock<PermissionSet> = LazyLock::new(PermissionSet::default);

static NEXT_GENERATION: AtomicU64 = AtomicU64::new(1);

impl Principal {
    /// A principal that counts from now on.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, permissions: PermissionSet, id: KeyId) -> Self {
        Self {
            name: name.into(),
            permissions,
            id,
            compat: None,
            lifetime: Arc::new(PrincipalLifetime {
                generation: NEXT_GENERATION.fetch_add(1, Ordering::Relaxed),
                over: AtomicBool::new(false),
                ended: CancellationToken::new(),
            }),
        }
    }

    /// The same with this setting.
    #[must_use]
    pub fn with_compat(self, compat: Option<Compat>) -> Self {
        Self { compat, ..self }
    }

    /// The caller of a hub that runs with `--no-auth`: everything is allowed.
    #[must_use]
    pub fn anonymous_admin() -> Self {
        Self::new("anonymous", PermissionSet::all(), KeyId::ANONYMOUS)
    }

    /// A hook that runs on an event that nobody called for. Its `grants` are what limits it.
    #[must_use]
    pub(crate) fn hook(name: &str) -> Self {
        let name = format!("hook/{name}");
        let id = KeyId::of(&Sha256::digest(name.as_bytes()).into());
        Self::new(name, PermissionSet::all(), id)
    }

    /// What it may see and use at this moment: nothing once it has ended. Ask when something is used, and keep no
    /// answer.
    #[must_use]
    pub fn permissions(&self) -> &PermissionSet {
        if self.is_current() {
            &self.permissions
        } else {
            &NOTHING
        }
    }

    /// Whether its key counts and may still what it might when the principal began.
    #[must_use]
    pub fn is_current(&self) -> bool {
        !self.lifetime.over.load(Ordering::Acquire)
    }

    /// The number of this principal: unique in the process. What is cached for a key is cached under this number, so
    /// that a key with other permissions never gets it.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.lifetime.generation
    }

    /// Returns when the principal has ended.
    pub async fn ended(&self) {
        self.lifetime.ended.cancelled().await;
    }

    /// The same as an owned future.
    pub(super) fn until_ended(&self) -> WaitForCancellationFutureOwned {
        self.lifetime.ended.clone().cancelled_owned()
    }

    /// Ends it, for good.
    pub(super) fn end(&self) {
        self.lifetime.over.store(true, Ordering::Release);
        self.lifetime.ended.cancel();
    }
}

/// The same name, key and permissions; whether they have ended is not compared.
impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
            && self.name == other.name
            && self.permissions == other.permissions
            && self.compat == other.compat
    }
}

impl Eq for Principal {}

/// One configured key.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    /// Its name, shown in logs.
    pub name: String,
    /// Its stored hash.
    pub hash: KeyHash,
    /// What it may see and use.
    pub permissions: PermissionSet,
    /// Whether lists and results are written for what its clients are known to read.
    pub compat: Option<Compat>,
}

/// A set of keys that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// Two keys have one name.
    #[error("two API keys are named {name:?}; give each its own name")]
    Name {
        /// The name.
        name: String,
    },
    /// Two names have one key.
    #[error(
        "the API keys {first:?} and {second:?} have the same key_hash; make a key for each with `aih key new`"
    )]
    Hash {
        /// The name of the earlier one.
        first: String,
        /// The name of the later one.
        second: String,
    },
}

/// Why a request has no principal. Says what to do, and nothing of what was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No key is presented.
    #[error("no API key; send it as \"Authorization: Bearer KEY\" or \"X-API-Key: KEY\"")]
    Missing,
    /// `Authorization` has another scheme than Bearer.
    #[error("the Authorization header is not of the scheme Bearer; send \"Authorization: Bearer KEY\"")]
    Scheme,
    /// The key is empty or longer than [`MAX_KEY_LENGTH`].
    #[error("the API key is empty or too long; send the key as `aih key new` printed it")]
    Malformed,
    /// A header that may stand once stands twice.
    #[error("the Authorization or X-API-Key header is sent more than once; send one key")]
    Repeated,
    /// `Authorization` and `X-API-Key` carry different keys.
    #[error("Authorization and X-API-Key carry different keys; send one key")]
    Conflict,
    /// The key is not one of this hub's.
    #[error(
        "the API key is not known to this hub; make one with `aih key new` and add it under auth.api_keys"
    )]
    Unknown,
}

struct RingEntry {
    digest: [u8; 32],
    principal: Arc<Principal>,
}

/// All keys of the hub. Immutable: a reload makes a new one.
#[derive(Default)]
pub struct KeyRing {
    entries: Box<[RingEntry]>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.principals().map(|one| &one.name))
            .finish()
    }
}

impl KeyRing {
    /// Puts keys on a ring. Placeholders are left out, since no key can match them.
    ///
    /// # Errors
    /// Two entries share a name or a hash.
    pub fn new(keys: impl IntoIterator<Item = KeyEntry>) -> Result<Self, KeyRingError> {
        let mut entries: Vec<RingEntry> = Vec::new();
        for KeyEntry {
            name,
            hash,
            permissions,
            compat,
        } in keys
        {
            let Stored::Digest(digest) = hash.0 else { continue };
            if entries.iter().any(|one| *one.principal.name == *name) {
                return Err(KeyRingError::Name { name });
            }
            if let Some(first) = entries.iter().find(|one| one.digest == digest) {
                return Err(KeyRingError::Hash {
                    first: first.principal.name.to_string(),
                    second: name,
                });
            }
            let principal =
                Arc::new(Principal::new(name, permissions, KeyId::of(&digest)).with_compat(compat));
            entries.push(RingEntry { digest, principal });
        }
        Ok(Self {
            entries: entries.into(),
        })
    }

    /// Whether no request can be authenticated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of usable keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The principals of all usable keys.
    pub fn principals(&self) -> impl Iterator<Item = &Arc<Principal>> {
        self.entries.iter().map(|one| &one.principal)
    }

    /// The principal of the key with this id.
    #[must_use]
    pub fn principal(&self, id: KeyId) -> Option<&Arc<Principal>> {
        self.principals().find(|one| one.id == id)
    }

    /// Takes the principals of `old` over for keys that did not change, and returns those that have no place here.
    pub(super) fn succeed(&mut self, old: &Self) -> Vec<Arc<Principal>> {
        let mut left = Vec::new();
        for before in old.principals() {
            let same = |entry: &&mut RingEntry| *entry.principal == **before;
            match self.entries.iter_mut().find(same) {
                Some(entry) => entry.principal = Arc::clone(before),
                None => left.push(Arc::clone(before)),
            }
        }
        left
    }

    /// Finds out who sends a request, from `Authorization: Bearer` or `X-API-Key`.
    ///
    /// With `X-API-Key` present, an `Authorization` of another scheme is left to whoever it is for (a
    /// proxy's Basic password, say).
    ///
    /// # Errors
    /// No key, an unusable one, two different ones, or one that is not on this ring.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Principal>, AuthError> {
        let plain = single(headers, KEY_HEADER)?;
        let bearer = match single(headers, AUTHORIZATION.as_str())?.map(bearer_token) {
            Some(None) if plain.is_none() => return Err(AuthError::Scheme),
            token => token.flatten(),
        };
        let key = match (bearer, plain) {
            (None, None) => return Err(AuthError::Missing),
            (Some(key), None) | (None, Some(key)) => key,
            (Some(one), Some(other)) if bool::from(one.ct_eq(other)) => one,
            (Some(_), Some(_)) => return Err(AuthError::Conflict),
        };
        if key.is_empty() || key.len() > MAX_KEY_LENGTH {
            return Err(AuthError::Malformed);
        }
        self.find(key).ok_or(AuthError::Unknown)
    }

    /// Compares with every key, whichever matches: time tells nothing about where or how far.
    fn find(&self, key: &[u8]) -> Option<Arc<Principal>> {
        let presented: [u8; 32] = Sha256::digest(key).into();
        let mut found = Choice::from(0);
        let mut at = 0_u64;
        for (index, entry) in (0_u64..).zip(&self.entries) {
            let equal = entry.digest.ct_eq(&presented);
            at.conditional_assign(&index, equal);
            found |= equal;
        }
        let entry = self.entries.get(usize::try_from(at).ok()?)?;
        bool::from(found).then(|| Arc::clone(&entry.principal))
    }
}

/// The value of a header that may stand once.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h [u8]>, AuthError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(AuthError::Repeated);
    }
    Ok(first.map(|value| value.as_bytes().trim_ascii()))
}

/// What follows the scheme Bearer, in any case; nothing for another scheme.
fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let (_, token) = value
        .split_at_checked("bearer".len())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer"))?;
    (token.is_empty() || token.first().is_some_and(u8::is_ascii_whitespace)).then(|| token.trim_ascii())
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
