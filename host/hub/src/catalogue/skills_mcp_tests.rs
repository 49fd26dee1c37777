use super::super::files::sha256_hex;
use super::super::front_matter;
use super::super::skills::tests::example;
use super::*;

const ALL: fn(&str) -> bool = |_| true;

fn uris(list: &[Value]) -> Vec<&str> {
    list.iter().map(|item| item["uri"].as_str().unwrap()).collect()
}

#[test]
fn every_entry_keeps_the_promises_of_the_extension() {
    let (_dir, set) = example();
    let listed = entries(&set, ALL);
    assert_eq!(
        uris(&listed),
        [
            "skill://aih/code-review/SKILL.md",
            "skill://aih/pdf/SKILL.md",
            "skill://aih/pdf-file/SKILL.md"
        ]
    );
    for entry in &listed {
        let uri = entry["uri"].as_str().unwrap();
        let folder = uri.strip_suffix("/SKILL.md").unwrap();
        assert_eq!(folder.rsplit('/').next().unwrap(), entry["frontmatter"]["name"]);
        assert!(!entry["frontmatter"]["description"].as_str().unwrap().is_empty());
        let files = entry["resources"].as_array().unwrap();
        assert_eq!(files.iter().filter(|file| file["uri"] == uri).count(), 1);
        for file in files {
            let file_uri = file["uri"].as_str().unwrap();
            assert!(file_uri.starts_with(&format!("{folder}/")));
            let read = read(&set, file_uri, ALL).unwrap();
            let content = &read["contents"][0];
            assert_eq!(content["uri"], file_uri);
            if let Some(text) = content["text"].as_str() {
                assert_eq!(file["size"], text.len());
                assert_eq!(file["digest"], format!("sha256:{}", sha256_hex(text.as_bytes())));
            }
        }
        let manifest = read(&set, uri, ALL).unwrap();
        assert_eq!(manifest["contents"][0]["mimeType"], "text/markdown");
        let head = front_matter::parse(manifest["contents"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(Value::Object(head.front_matter), entry["frontmatter"]);
        assert_eq!(&get(&set, uri, ALL).unwrap()["skill"], entry);
    }
    assert_eq!(list(&set, ALL)["skills"], Value::Array(listed));
}

#[test]
fn what_the_filter_refuses_is_not_there() {
    let (_dir, set) = example();
    let only_pdf = |name: &str| name == "pdf";
    let review = "skill://aih/code-review/SKILL.md";
    assert_eq!(uris(&entries(&set, only_pdf)), ["skill://aih/pdf/SKILL.md"]);
    assert_eq!(uris(&resources(&set, only_pdf)), ["skill://aih/pdf/SKILL.md"]);
    assert_eq!(prompts(&set, only_pdf).len(), 1);
    assert_eq!(get(&set, review, only_pdf), None);
    assert_eq!(read(&set, review, only_pdf), None);
    assert_eq!(read_directory(&set, "skill://aih/code-review", only_pdf), None);
    assert_eq!(prompt(&set, "code-review", None, only_pdf), None);
    let root = read_directory(&set, "skill://aih", only_pdf).unwrap();
    assert_eq!(uris(root["resources"].as_array().unwrap()), ["skill://aih/pdf"]);
}

#[test]
fn resources_name_and_describe_the_skill() {
    let (_dir, set) = example();
    let listed = resources(&set, ALL);
    let pdf = listed.iter().find(|resource| resource["name"] == "pdf").unwrap();
    assert_eq!(pdf["description"], "Works with PDF");
    assert_eq!(pdf["mimeType"], "text/markdown");
    assert_eq!(pdf["_meta"]["aih/permission"], "skills/pdf");
    assert_eq!(pdf["size"], set.get("pdf").unwrap().size());
    assert!(
        pdf["annotations"]["lastModified"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    let odd = listed
        .iter()
        .find(|resource| resource["name"] == "Odd Name")
        .unwrap();
    assert_eq!(odd["uri"], "skill://aih/Odd%20Name/SKILL.md");
    assert!(read(&set, "skill://aih/Odd%20Name/SKILL.md", ALL).is_some());
}

#[test]
fn directories_show_their_direct_children() {
    let (_dir, set) = example();
    let children = |uri: &str| read_directory(&set, uri, ALL).map(|result| result["resources"].clone());
    let pdf = children("skill://aih/pdf").unwrap();
    assert_eq!(
        uris(pdf.as_array().unwrap()),
        [
            "skill://aih/pdf/SKILL.md",
            "skill://aih/pdf/logo.png",
            "skill://aih/pdf/references"
        ]
    );
    assert_eq!(pdf[2]["mimeType"], "inode/directory");
    assert_eq!(children("skill://aih/pdf/").unwrap(), pdf);
    let references = children("skill://aih/pdf/references").unwrap();
    assert_eq!(references[0]["mimeType"], "inode/directory");
    assert_eq!(
        references[1],
        json!({ "uri": "skill://aih/pdf/references/forms.md", "name": "forms.md", "mimeType": "text/markdown", "size": 5 })
    );
    assert_eq!(children("skill://aih/").unwrap().as_array().unwrap().len(), 4);
    for no_folder in [
        "skill://aih/pdf/SKILL.md",
        "skill://aih/pdf/logo.png",
        "skill://aih/pdf/none",
        "skill://aih/none",
        "skill://aihx",
        "skill://pdf",
        "config://claude",
    ] {
        assert_eq!(children(no_folder), None, "{no_folder}");
    }
}

#[test]
fn nothing_else_can_be_read() {
    let (_dir, set) = example();
    for uri in [
        "skill://aih/pdf/env.txt",
        "skill://aih/pdf/.hidden",
        "skill://aih/pdf/../../.env",
        "skill://aih/pdf/%2e%2e/%2e%2e/.env",
        "skill://aih/pdf/references",
        "skill://aih/gone/SKILL.md",
        "skill://aih",
        "file:///etc/passwd",
    ] {
        assert_eq!(read(&set, uri, ALL), None, "{uri}");
    }
    let binary = read(&set, "skill://aih/pdf/logo.png", ALL).unwrap();
    assert_eq!(binary["contents"][0]["blob"], "iVAA");
    // Another spelling of the same URI.
    assert!(read(&set, "skill://aih/pdf/references%2Fforms%2Emd", ALL).is_some());
}

#[test]
fn prompts_carry_the_instructions_and_the_request() {
    let (_dir, set) = example();
    let names: Vec<_> = prompts(&set, ALL)
        .iter()
        .map(|p| p["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.contains(&"code-review".to_owned()), "{names:?}");
    let text = |name: &str, request: Option<&str>| {
        let result = prompt(&set, name, request, ALL).unwrap();
        result["messages"][0]["content"]["text"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(text("code-review", None), "# Reviewing code\n\nLook for bugs.");
    assert!(text("code-review", Some("Review main.rs")).ends_with("\n\nReview main.rs"));
    assert!(text("pdf", None).contains("- references/forms.md: skill://aih/pdf/references/forms.md\n"));
    assert!(
        !text("pdf", None).contains("license"),
        "the head is not part of the instructions"
    );
}

#[test]
fn cache_hints_are_private() {
    let hinted = with_cache_hints(json!({ "skills": [] }), 5_000);
    assert_eq!(
        hinted,
        json!({ "skills": [], "resultType": "complete", "ttlMs": 5000, "cacheScope": "private" })
    );
}
