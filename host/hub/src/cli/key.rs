//! `aih key`: makes keys and their hashes.
//!
//! A new key is printed once and kept nowhere; what goes into the configuration is its hash.

use std::io::{self, Read, Write};

use super::report;
use crate::access::key::{ApiKey, KeyHash, MAX_KEY_LENGTH, RandomSourceError};
use crate::access::permission::Pattern;

/// The subcommands of `aih key`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum KeyCommand {
    /// Make a key: prints it once, and what to add to aih-config.yaml
    New(NewKey),
    /// Read a key from standard input and print its hash for key_hash
    Hash,
}

/// The arguments of `aih key new`.
#[derive(Debug, Clone, clap::Args)]
pub struct NewKey {
    /// Who the key is for, such as "cursor"; shown in logs
    #[arg(value_parser = parse_name)]
    pub name: String,
    /// What the key may use, such as "mcps/stripe/*" or "!admin". Can be given several times
    #[arg(
        long = "permission",
        short = 'p',
        value_name = "PERMISSION",
        default_value = "*"
    )]
    pub permissions: Vec<Pattern>,
}

/// `aih key` cannot do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum KeyCommandError {
    /// No key can be made.
    #[error(transparent)]
    Random(#[from] RandomSourceError),
    /// Standard input or output fails.
    #[error("cannot read or write: {0}")]
    Io(#[from] io::Error),
    /// Nothing was given.
    #[error("no key on standard input; give it one, for example `printf %s \"$KEY\" | aih key hash`")]
    Empty,
    /// More than a request may present.
    #[error("the key on standard input is longer than {MAX_KEY_LENGTH} bytes, more than a request may carry")]
    TooLong,
    /// No header can carry it.
    #[error(
        "the key on standard input has a line break, another control character or a space at an end; no request can carry it"
    )]
    Unsendable,
}

fn parse_name(name: &str) -> Result<String, String> {
    if name.trim().is_empty() {
        return Err("is empty; name who the key is for".into());
    }
    if name.len() > 128 || name.chars().any(char::is_control) {
        return Err("must be at most 128 bytes without control characters".into());
    }
    Ok(name.to_owned())
}

/// Runs one subcommand. Blocks on `input` and `output`.
///
/// # Errors
/// No random bytes, no usable key on `input`, or a failing stream.
pub fn run(command: &KeyCommand, input: impl Read, mut output: impl Write) -> Result<(), KeyCommandError> {
    let answer = match command {
        KeyCommand::New(new) => new_key(new)?,
        KeyCommand::Hash => hash(input)?,
    };
    let written = output.write_all(answer.as_bytes()).and_then(|()| output.flush());
    Ok(report::unless_closed(written)?)
}

fn new_key(NewKey { name, permissions }: &NewKey) -> Result<String, RandomSourceError> {
    let key = ApiKey::generate()?;
    // A JSON string is a YAML string.
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let permissions: Vec<_> = permissions.iter().map(|one| quote(&one.to_string())).collect();
    Ok(format!(
        "Key (shown only now; the hub keeps its hash):

  {}

Add to aih-config.yaml, under auth.api_keys:

    - name: {}
      key_hash: {}
      permissions: [{}]
",
        key.expose(),
        quote(name),
        quote(&key.hash().to_string()),
        permissions.join(", ")
    ))
}

fn hash(input: impl Read) -> Result<String, KeyCommandError> {
    let mut key = Vec::new();
    input.take(MAX_KEY_LENGTH as u64 + 3).read_to_end(&mut key)?;
    let key = key.strip_suffix(b"\n").unwrap_or(&key);
    let key = key.strip_suffix(b"\r").unwrap_or(key);
    if key.trim_ascii().is_empty() {
        return Err(KeyCommandError::Empty);
    }
    if key.len() > MAX_KEY_LENGTH {
        return Err(KeyCommandError::TooLong);
    }
    if key.trim_ascii() != key || key.iter().any(u8::is_ascii_control) {
        return Err(KeyCommandError::Unsendable);
    }
    Ok(format!("{}\n", KeyHash::of(key)))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(subcommand)]
        key: KeyCommand,
    }

    fn new_key(args: &[&str]) -> String {
        let cli = Cli::try_parse_from([&["key", "new"], args].concat()).unwrap();
        let mut output = Vec::new();
        run(&cli.key, io::empty(), &mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    fn hash(input: &[u8]) -> Result<String, KeyCommandError> {
        let mut output = Vec::new();
        run(&KeyCommand::Hash, input, &mut output).map(|()| String::from_utf8(output).unwrap())
    }

    #[test]
    fn new_prints_the_key_once_with_the_yaml_of_its_hash() {
        let text = new_key(&["say \"hi\""]);
        let key = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("aih_"))
            .unwrap();
        assert_eq!(text.matches(key).count(), 1);
        let hash = KeyHash::of(format!("aih_{key}").as_bytes());
        let yaml = format!(
            "    - name: \"say \\\"hi\\\"\"\n      key_hash: \"{hash}\"\n      permissions: [\"*\"]\n"
        );
        assert!(text.ends_with(&yaml), "{text}");
    }

    #[test]
    fn new_takes_permissions_in_place_of_the_default() {
        let text = new_key(&["a", "--permission", "mcps/*", "-p", "!mcps/stripe"]);
        assert!(
            text.ends_with("permissions: [\"mcps/*\", \"!mcps/stripe\"]\n"),
            "{text}"
        );
    }

    #[test]
    fn new_refuses_bad_arguments() {
        for (args, says) in [
            (vec!["key", "new"], "NAME"),
            (vec!["key", "new", " "], "is empty"),
            (vec!["key", "new", "a\nb"], "control characters"),
            (
                vec!["key", "new", "a", "--permission", "mcp/*"],
                "did you mean \"mcps\"",
            ),
        ] {
            let error = Cli::try_parse_from(args).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_reader_that_left_is_no_error_and_a_full_disk_is() {
        struct Fails(io::ErrorKind);
        impl Write for Fails {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(self.0.into())
            }
        }
        let run = |kind| run(&KeyCommand::Hash, &b"abc"[..], Fails(kind));
        assert!(run(io::ErrorKind::BrokenPipe).is_ok());
        assert!(matches!(
            run(io::ErrorKind::StorageFull),
            Err(KeyCommandError::Io(_))
        ));
    }

    #[test]
    fn hash_trims_the_line_end_only() {
        let expected = format!("{}\n", KeyHash::of(b"abc"));
        for input in ["abc", "abc\n", "abc\r\n"] {
            assert_eq!(hash(input.as_bytes()).unwrap(), expected);
        }
        assert!(hash(&[b'a'; MAX_KEY_LENGTH]).is_ok());
    }

    #[test]
    fn hash_refuses_what_no_request_can_carry() {
        for empty in ["", "\n", "\r\n", "  \n", "\n\n"] {
            assert!(
                matches!(hash(empty.as_bytes()), Err(KeyCommandError::Empty)),
                "{empty:?}"
            );
        }
        for bad in ["a\nb", "a\n\n", " a", "a \n", "a\tb"] {
            assert!(
                matches!(hash(bad.as_bytes()), Err(KeyCommandError::Unsendable)),
                "{bad:?}"
            );
        }
        assert!(matches!(
            hash(&[b'a'; MAX_KEY_LENGTH + 1]),
            Err(KeyCommandError::TooLong)
        ));
        assert!(matches!(hash(&[b'a'; 1 << 20]), Err(KeyCommandError::TooLong)));
    }
}
