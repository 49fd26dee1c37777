//! The WIT contract may grow, and what was published of it may never change: components that were built once run
//! for as long as there is a hub of this major version.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

use wit_component::semver_check;
use wit_parser::{PackageId, Resolve, UnresolvedPackageGroup};

/// Reads `plugin.wit` with its dependency; `version` takes the place of the written one, so that two states of the
/// contract can stand side by side.
fn read(resolve: &mut Resolve, folder: &Path, version: Option<&str>) -> PackageId {
    let parse = |file: &str| {
        let path = folder.join(file);
        let mut text = fs::read_to_string(&path).unwrap();
        if let Some(version) = version {
            text = text.replace("@1.0.0", &format!("@{version}"));
        }
        UnresolvedPackageGroup::parse(path.to_str().unwrap(), &text).unwrap()
    };
    resolve.push_group(parse("deps/host.wit")).unwrap();
    resolve.push_group(parse("plugin.wit")).unwrap()
}

fn check(changed: impl Fn(&str) -> String) -> Result<(), String> {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("deps")).unwrap();
    for file in ["plugin.wit", "deps/host.wit"] {
        let text = fs::read_to_string(wit.join(file)).unwrap();
        fs::write(folder.path().join(file), changed(&text)).unwrap();
    }
    for world in ["plugin", "hook"] {
        let mut resolve = Resolve::default();
        let published = read(
            &mut resolve,
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published"),
            Some("0.0.1"),
        );
        let current = read(&mut resolve, folder.path(), None);
        let published = resolve.select_world(&[published], Some(world)).unwrap();
        let current = resolve.select_world(&[current], Some(world)).unwrap();
        semver_check(resolve, published, current).map_err(|error| format!("world {world}: {error:#}"))?;
    }
    Ok(())
}

#[test]
fn the_contract_is_compatible_with_the_published_one() {
    check(str::to_owned).unwrap();
}

#[test]
fn growth_is_compatible() {
    check(|text| {
        text.replace(
            "roots: func() -> result<string, error>;",
            "roots: func() -> result<string, error>;\n  more: func() -> u32;",
        )
    })
    .unwrap();
}

#[test]
fn a_change_of_what_was_published_is_found() {
    let changes = [
        (
            "record entry { value: list<u8>, version: u64 }",
            "record entry { value: list<u8>, version: u32 }",
        ),
        (
            "variant decision {\n    proceed,",
            "variant decision {\n    proceed, wait,",
        ),
        ("cancelled: func() -> bool;", "cancelled: func() -> u32;"),
        (
            "call-tool: async func(call: call)",
            "call-tool: async func(call: call, more: bool)",
        ),
    ];
    for (from, to) in changes {
        let changed = check(|text| text.replace(from, to));
        assert!(changed.is_err(), "`{to}` was not found");
    }
}
