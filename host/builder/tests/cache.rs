//! A build happens once for each content.

mod common;

use std::{
    fs,
    sync::{Arc, Mutex},
};

use aih_builder::{BuildCache, Builder, Progress};
use common::{Project, RAW_JS, options};

#[tokio::test]
async fn a_build_happens_once_for_each_content() {
    let project = Project::new(&[
        ("plugin.js", &format!("import {{ a }} from './a.js';\n{RAW_JS}")),
        ("a.js", "export const a = 1;"),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let builder = Arc::new(Builder::new(
        BuildCache::new(folder.path().join("components")).unwrap(),
        options(),
    ));
    let source = project.source("plugin.js");
    let builds = Arc::new(Mutex::new(0));
    let count = {
        let builds = Arc::clone(&builds);
        move |progress| {
            if progress == Progress::Building {
                *builds.lock().unwrap() += 1;
            }
        }
    };
    // Two at once are one.
    let (first, second) = tokio::join!(builder.build(&source, &count), builder.build(&source, &count));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.component, second.component);
    assert_eq!(*builds.lock().unwrap(), 1);
    let mut inputs: Vec<_> = first
        .inputs
        .iter()
        .map(|path| path.file_name().unwrap())
        .collect();
    inputs.sort();
    assert_eq!(inputs, ["a.js", "plugin.js"]);
    // A change of what is imported counts, and going back finds the first again.
    project.write("a.js", "export const a = 2;");
    let third = builder.build(&source, &count).await.unwrap();
    assert_ne!(third.digest, first.digest);
    assert_eq!(*builds.lock().unwrap(), 2);
    project.write("a.js", "export const a = 1;");
    assert_eq!(builder.build(&source, &count).await.unwrap().digest, first.digest);
    assert_eq!(*builds.lock().unwrap(), 2);
    // Other files do not count.
    project.write("b.js", "");
    assert_eq!(builder.digest(&source).await.unwrap(), first.digest);
    assert!(fs::metadata(&third.component).unwrap().len() > 100_000);
}
