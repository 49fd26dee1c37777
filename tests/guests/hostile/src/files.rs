//! Attacks on files and the environment.

use std::{fs, io::Write as _};

use aih_plugin::{
    Error, Json, Result, arguments,
    serde_json::{Value, json},
    tool,
};
use wasip2::filesystem::{
    preopens::get_directories,
    types::{DescriptorFlags, OpenFlags, PathFlags},
};

use crate::Amount;

#[arguments]
pub struct Path {
    path: String,
}

#[arguments]
pub struct FromTo {
    /// An existing path.
    from: String,
    /// The path to make.
    to: String,
}

/// Reads a file.
#[tool]
pub async fn read_path(args: Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(args.path)?).into_owned())
}

/// Writes a file.
#[tool]
pub async fn write_path(args: Path) -> Result<&'static str> {
    fs::write(args.path, "written by a hostile plugin")?;
    Ok("written")
}

/// Lists a folder, and the folders that were granted.
#[tool]
pub async fn list_path(args: Path) -> Json<Value> {
    let granted: Vec<String> = get_directories().into_iter().map(|(_, path)| path).collect();
    let entries = fs::read_dir(args.path).map(|entries| {
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.collect::<Vec<_>>()
    });
    Json(json!({
        "granted": granted,
        "entries": entries.as_ref().ok(),
        "error": entries.as_ref().err().map(ToString::to_string),
    }))
}

#[arguments]
pub struct Escape {
    /// What the link points to, such as `../../etc/passwd` or `/etc/passwd`.
    target: String,
}

/// Makes a symbolic link in the first granted folder that points out of it, and reads through the link: by WASI
/// itself, for the standard library has no such link.
#[tool]
pub async fn symlink_escape(args: Escape) -> Result<String> {
    let directories = get_directories();
    let (directory, path) = directories
        .first()
        .ok_or_else(|| Error::new("no folder was granted"))?;
    let link = "escape";
    let made = directory.symlink_at(&args.target, link);
    let opened = directory.open_at(
        PathFlags::SYMLINK_FOLLOW,
        link,
        OpenFlags::empty(),
        DescriptorFlags::READ,
    );
    let opened = match opened {
        Ok(file) => file,
        Err(code) => {
            return Err(Error::new(format!(
                "link: {made:?}; opening it in {path}: {code}"
            )));
        }
    };
    let (bytes, _) = opened
        .read(4096, 0)
        .map_err(|code| Error::new(format!("reading: {code}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Makes a hard link.
#[tool]
pub async fn hard_link(args: FromTo) -> Result<&'static str> {
    fs::hard_link(args.from, args.to)?;
    Ok("linked")
}

/// Renames a file or a folder, such as the granted one.
#[tool]
pub async fn rename(args: FromTo) -> Result<&'static str> {
    fs::rename(args.from, args.to)?;
    Ok("renamed")
}

#[arguments]
pub struct Flood {
    /// A granted folder.
    folder: String,
    /// How many files of 1 MB.
    files: u32,
}

/// Fills the disk.
#[tool]
pub async fn disk_flood(args: Flood) -> Result<String> {
    let block = vec![7; 1 << 20];
    for n in 0..args.files {
        fs::File::create(format!("{}/flood-{n}", args.folder))
            .and_then(|mut file| file.write_all(&block))
            .map_err(|error| Error::new(format!("after {n} files: {error}")))?;
    }
    Ok(format!("{} files", args.files))
}

/// Shows environment variables, arguments and the current folder. With an amount it asks that often.
#[tool]
pub async fn env_dump(args: Amount) -> Json<Value> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for _ in 0..args.or(1) {
        variables = std::env::vars_os()
            .map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()))
            .collect();
    }
    Json(json!({
        "variables": variables,
        "arguments": std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "folder": std::env::current_dir().ok(),
    }))
}
