use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::super::files::FileErrorKind;
use super::*;

/// A configuration folder with skills of every kind, and the set loaded from it.
pub(in crate::catalogue) fn example() -> (tempfile::TempDir, SkillSet) {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    let write = |path: &str, content: &[u8]| {
        let path = base.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write(".env", b"SECRET=1");
    write("skills/code-review.md", b"# Reviewing code\n\nLook for bugs.\n");
    write(
        "skills/pdf/SKILL.md",
        b"---\nname: pdf\ndescription: Works with PDF\ntags: [office, files]\nlicense: MIT\nmetadata:\n  since: 2\n---\nRead references/forms.md.\n",
    );
    write("skills/pdf/references/forms.md", b"forms");
    write("skills/pdf/references/deep/x.txt", b"x");
    write("skills/pdf/logo.png", &[0x89, b'P', 0]);
    write("skills/pdf/.hidden", b"no");
    write("skills/broken.md", b"---\nname: [\n---\nx");
    symlink("../../.env", base.join("skills/pdf/env.txt")).unwrap();
    let sources = [
        (
            "code-review",
            Some("Thorough code review"),
            "./skills/code-review.md",
            vec!["development"],
        ),
        ("pdf", None, "./skills/pdf", vec!["office"]),
        ("pdf-file", Some("By its file"), "./skills/pdf/SKILL.md", vec![]),
        ("broken", None, "./skills/broken.md", vec![]),
        ("gone", None, "./skills/gone.md", vec![]),
        ("Odd Name", None, "./skills/code-review.md", vec![]),
    ];
    let set = SkillSet::load(sources.map(|(name, description, file, tags)| SkillSource {
        name: name.into(),
        description: description.map(str::to_owned),
        file: file.into(),
        tags: tags.into_iter().map(str::to_owned).collect(),
        base_dir: base.into(),
    }));
    (dir, set)
}

#[test]
fn single_file_skills_take_their_words_from_the_configuration() {
    let (_dir, set) = example();
    let skill = set.get("code-review").unwrap();
    assert_eq!(skill.title.as_deref(), Some("Reviewing code"));
    assert_eq!(skill.description, "Thorough code review");
    assert_eq!(skill.tags, ["development"]);
    assert_eq!(skill.text, "# Reviewing code\n\nLook for bugs.\n");
    assert_eq!(skill.body, skill.text);
    assert!(skill.files.is_empty() && skill.warnings.is_empty());
    // The extension's file has the head that the author left out.
    let head = skill
        .manifest
        .text
        .strip_suffix("---\n# Reviewing code\n\nLook for bugs.\n");
    let mut lines: Vec<&str> = head.unwrap().lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "---",
            "description: \"Thorough code review\"",
            "name: \"code-review\""
        ]
    );
    assert_ne!(skill.manifest.sha256, skill.sha256);
}

#[test]
fn folder_skills_bring_their_files_and_their_head() {
    let (_dir, set) = example();
    let skill = set.get("pdf").unwrap();
    assert_eq!(skill.description, "Works with PDF");
    assert_eq!(skill.tags, ["office", "files"]);
    assert_eq!(skill.front_matter["license"], "MIT");
    assert_eq!(skill.front_matter["metadata"], json!({ "since": 2 }));
    assert_eq!(skill.body, "Read references/forms.md.\n");
    let paths: Vec<_> = skill.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(
        paths,
        ["logo.png", "references/deep/x.txt", "references/forms.md"]
    );
    assert_eq!(skill.file_at("logo.png").unwrap().media_type, "image/png");
    assert_eq!(skill.file_at("../.env"), None);
    // The link out of the folder is not served, and the operator gets a warning.
    assert_eq!(
        skill.warnings,
        ["`env.txt` is a link, or is not a regular file: left out"]
    );
    // A complete head is served byte for byte.
    assert_eq!(skill.manifest.text, skill.text);
    assert_eq!(skill.manifest.sha256, skill.sha256);

    let renamed = set.get("pdf-file").unwrap();
    assert_eq!(renamed.files, skill.files);
    assert_eq!(renamed.manifest.front_matter["name"], "pdf-file");
    assert_eq!(renamed.manifest.front_matter["description"], "Works with PDF");
    assert_eq!(renamed.manifest.front_matter["license"], "MIT");
}

#[test]
fn failed_entries_keep_their_place_with_the_reason() {
    let (_dir, set) = example();
    let error = |name: &str| set.entry(name).unwrap().outcome.as_ref().unwrap_err().to_string();
    assert!(
        error("gone").starts_with("`./skills/gone.md` no such file"),
        "{}",
        error("gone")
    );
    assert!(
        error("broken").starts_with("`./skills/broken.md` "),
        "{}",
        error("broken")
    );
    assert_eq!(set.entries().count(), 6);
    assert_eq!(set.readable().count(), 4);
    assert!(set.get("gone").is_none());
}

#[test]
fn a_manifest_beside_the_configuration_publishes_nothing_else() {
    let (dir, _) = example();
    fs::write(dir.path().join("SKILL.md"), "hello").unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    let load = |file: &str| {
        load(&SkillSource {
            name: "x".into(),
            description: None,
            file: file.into(),
            tags: vec![],
            base_dir: dir.path().into(),
        })
    };
    assert!(load("./SKILL.md").unwrap().files.is_empty());
    let Err(SkillError::File(error)) = load("./empty/") else {
        panic!("an empty folder is no skill")
    };
    assert_eq!(
        (error.path.as_str(), error.kind),
        ("./empty/SKILL.md", FileErrorKind::NotFound)
    );
    let skill = load("./SKILL.md").unwrap();
    assert_eq!(skill.manifest.front_matter["description"], "x");
}

#[test]
fn folders_beyond_the_limits_are_refused() {
    let (dir, _) = example();
    let folder = dir.path().join("skills/many");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(SKILL_MD), "x").unwrap();
    for i in 0..MAX_FILES {
        fs::write(folder.join(format!("{i}.txt")), "").unwrap();
    }
    let source = SkillSource {
        name: "many".into(),
        description: None,
        file: "skills/many".into(),
        tags: vec![],
        base_dir: dir.path().into(),
    };
    let error = load(&source).unwrap_err();
    assert!(error.to_string().contains("more than 512 files"), "{error}");
    fs::remove_file(folder.join("0.txt")).unwrap();
    assert_eq!(load(&source).unwrap().files.len(), MAX_FILES - 1);
}

#[test]
fn standard_names_follow_the_specification() {
    let (_dir, set) = example();
    let mut skill = Skill::clone(set.get("pdf").unwrap());
    for (name, standard) in [
        ("a", true),
        ("code-review-2", true),
        ("", false),
        ("-a", false),
        ("a-", false),
        ("a--b", false),
        ("A", false),
        ("a_b", false),
    ] {
        skill.name = name.into();
        assert_eq!(skill.has_standard_name(), standard, "{name}");
    }
    skill.name = "a".repeat(65);
    assert!(!skill.has_standard_name());
}
