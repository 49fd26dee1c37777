//! Attacks on files and the environment.

use std::{fs, io::Write as _};

use aih_plugin::{
    Error, Json, Result, arguments,
    serde_json::{Value, json},
    tool,
};
use wasip2::filesystem::{
    preopens::get_directories,
    types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags},
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

#[arguments]
pub struct Swap {
    /// A granted folder.
    folder: String,
    /// What lies in it, such as a folder that is granted by itself.
    name: String,
    /// What the link in its place points to, such as `../outside`.
    target: String,
}

/// Puts a symbolic link in the place of a file or folder.
#[tool]
pub async fn swap_for_link(args: Swap) -> Result<&'static str> {
    let folder = granted(&args.folder)?;
    let aside = format!("{}-aside", args.name);
    fs::rename(
        format!("{}/{}", args.folder, args.name),
        format!("{}/{aside}", args.folder),
    )?;
    folder
        .symlink_at(&args.target, &args.name)
        .map_err(|code| Error::new(format!("link: {code}")))?;
    Ok("swapped")
}

/// The folder that is granted under this path.
fn granted(path: &str) -> Result<Descriptor> {
    let found = get_directories().into_iter().find(|(_, granted)| granted == path);
    found
        .map(|(folder, _)| folder)
        .ok_or_else(|| Error::new(format!("{path} was not granted")))
}

#[arguments]
pub struct Fill {
    /// A granted folder.
    folder: String,
    /// The way: see [`fill`].
    how: String,
    /// How often, or how many megabytes at once.
    amount: u64,
}

/// Makes a folder larger until that is refused. It says how often it went well, and the error.
#[tool]
pub async fn fill(args: Fill) -> Result<String> {
    let (folder, how) = (granted(&args.folder)?, args.how.as_str());
    let path = |name: &str| format!("{}/{name}", args.folder);
    let megabyte = vec![7; 1 << 20];
    let mut kept: Vec<Box<dyn std::any::Any>> = Vec::new();
    let mut step = |n: u64| -> Result<()> {
        let name = format!("{how}-{n}");
        let code = |code: wasip2::filesystem::types::ErrorCode| Error::new(code.to_string());
        match how {
            // One file that grows, by a stream.
            "write" => fs::File::options()
                .create(true)
                .append(true)
                .open(path("one"))?
                .write_all(&megabyte)?,
            // By a stream that begins somewhere.
            "seek" => {
                use std::io::{Seek as _, SeekFrom};
                let mut file = fs::File::options().create(true).write(true).open(path("one"))?;
                file.seek(SeekFrom::Start(n << 20))?;
                file.write_all(&megabyte)?;
            }
            // Without a stream.
            "positions" => {
                let file = folder
                    .open_at(
                        PathFlags::empty(),
                        "one",
                        OpenFlags::CREATE,
                        DescriptorFlags::WRITE,
                    )
                    .map_err(code)?;
                for part in 0..16 {
                    file.write(&megabyte[..64 << 10], (n << 20) + (part << 16))
                        .map_err(code)?;
                }
            }
            "set-length" => fs::File::create(path(&name))?.set_len(args.amount << 20)?,
            // A file with a gap.
            "gap" => {
                let file = folder
                    .open_at(
                        PathFlags::empty(),
                        &name,
                        OpenFlags::CREATE,
                        DescriptorFlags::WRITE,
                    )
                    .map_err(code)?;
                file.write(b"x", args.amount << 20).map_err(code)?;
            }
            // Files that are deleted and stay open: as handles, and as streams.
            "deleted" => {
                let mut file = fs::File::create(path(&name))?;
                file.write_all(&megabyte)?;
                fs::remove_file(path(&name))?;
                kept.push(Box::new(file));
            }
            "deleted-streams" => {
                fs::write(path(&name), &megabyte)?;
                let file = folder
                    .open_at(
                        PathFlags::empty(),
                        &name,
                        OpenFlags::empty(),
                        DescriptorFlags::READ,
                    )
                    .map_err(code)?;
                kept.push(Box::new(file.read_via_stream(0).map_err(code)?));
                drop(file);
                fs::remove_file(path(&name))?;
            }
            // In the place of a file that stays open.
            "replaced" => {
                let mut file = fs::File::create(path(&name))?;
                file.write_all(&megabyte)?;
                fs::rename(path(&name), path("one"))?;
                kept.push(Box::new(file));
            }
            "emptied" => {
                let mut file = fs::File::create(path("one"))?;
                file.write_all(&megabyte)?;
                kept.push(Box::new(file));
            }
            "files" => drop(fs::File::create(path(&name))?),
            "folders" => fs::create_dir(path(&name))?,
            "deep" => fs::create_dir_all(path(&"d/".repeat(n as usize + 1)))?,
            "links" => folder.symlink_at("nowhere", &name).map_err(code)?,
            "hard-links" => {
                fs::File::options().create(true).append(true).open(path("one"))?;
                fs::hard_link(path("one"), path(&name))?;
            }
            other => return Err(Error::new(format!("no such way: {other}"))),
        }
        Ok(())
    };
    for n in 0..args.amount {
        if let Err(error) = step(n) {
            return Ok(format!("after {n}: {error}"));
        }
    }
    Ok(format!("all {}", args.amount))
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
