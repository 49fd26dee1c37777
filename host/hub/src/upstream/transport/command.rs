//! Finding the command of a child process, and what to say when it is missing.

use std::{
    ffi::OsStr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// What to install for `command`, as the end of a sentence; empty if unknown.
pub(super) fn hint(command: &str) -> &'static str {
    match Path::new(command)
        .file_name()
        .and_then(OsStr::to_str)
        .unwrap_or(command)
    {
        "npx" | "npm" | "node" => "; install Node.js (https://nodejs.org)",
        "uvx" | "uv" => "; install uv (https://docs.astral.sh/uv)",
        "python" | "python3" | "pip" | "pip3" => "; install Python 3 (https://www.python.org)",
        "pipx" => "; install pipx (https://pipx.pypa.io)",
        "docker" => "; install Docker (https://docs.docker.com/get-docker)",
        "podman" => "; install Podman (https://podman.io)",
        "bun" | "bunx" => "; install Bun (https://bun.sh)",
        "deno" => "; install Deno (https://deno.com)",
        "pnpm" | "pnpx" => "; install pnpm (https://pnpm.io)",
        "yarn" => "; install Yarn (https://yarnpkg.com)",
        "go" => "; install Go (https://go.dev)",
        "cargo" => "; install Rust (https://rustup.rs)",
        "java" => "; install a Java runtime (https://adoptium.net)",
        "dotnet" | "dnx" => "; install .NET (https://dotnet.microsoft.com)",
        "ruby" => "; install Ruby (https://www.ruby-lang.org)",
        "php" => "; install PHP (https://www.php.net)",
        _ => "",
    }
}

/// Finds the file that `command` means, as the system will: by `path` if it has no slash, else from `cwd`.
///
/// # Errors
/// What is wrong and what to do about it.
pub(super) fn look_up(command: &str, path: Option<&OsStr>, cwd: &Path) -> Result<PathBuf, String> {
    let mut unfit = None;
    let mut fits = |file: PathBuf| {
        let meta = file.metadata().ok()?;
        if meta.is_file() && meta.permissions().mode() & 0o111 != 0 {
            return Some(file);
        }
        unfit = unfit.take().or(Some(file));
        None
    };
    let found = if command.contains('/') {
        fits(cwd.join(command))
    } else {
        // Without a `PATH` the C library looks here.
        let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
        std::env::split_paths(path).find_map(|dir| fits(cwd.join(dir).join(command)))
    };
    found.ok_or_else(|| match unfit {
        Some(file) => format!("`{}` cannot be run: it is not an executable file", file.display()),
        None if command.contains('/') => format!("`{command}` does not exist{}", hint(command)),
        None => format!("command `{command}` not found in PATH{}", hint(command)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_command_names_what_to_install() {
        let error = look_up("npx", Some(OsStr::new("/nowhere")), Path::new("/")).unwrap_err();
        assert_eq!(
            error,
            "command `npx` not found in PATH; install Node.js (https://nodejs.org)"
        );
        let error = look_up("./server", None, Path::new("/nowhere")).unwrap_err();
        assert_eq!(error, "`./server` does not exist");
        let error = look_up("/etc/passwd", None, Path::new("/")).unwrap_err();
        assert!(error.contains("not an executable"), "{error}");
        assert!(look_up("sh", None, Path::new("/")).is_ok());
    }
}
