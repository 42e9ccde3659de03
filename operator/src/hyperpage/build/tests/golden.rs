use std::{collections::BTreeSet, fs, path::Path};

use expect_test::expect_file;

use super::{children, defaults, stored};
use crate::hyperpage::validate::validate;

/// A changed template restarts the pods of everybody who upgrades the operator: it is seen here first.
#[test]
fn the_examples_build_what_is_on_record() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut names = BTreeSet::new();
    for file in files.filter(|file| file.extension().is_some_and(|it| it == "yaml")) {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        if !text.contains("kind: Hyperpage") {
            continue;
        }
        assert!(text.starts_with("# "), "{name}: begins with a comment that says what it shows");
        let hyperpage = stored(serde_yaml::from_str(&text).unwrap());
        let valid = validate(&hyperpage, &defaults()).unwrap_or_else(|invalid| panic!("{name}: {invalid}"));
        let built: Vec<_> =
            children(&valid).iter().map(|child| serde_yaml::to_string(child).unwrap()).collect();
        expect_file![format!("{}/src/hyperpage/build/tests/golden/{name}.yaml", env!("CARGO_MANIFEST_DIR"))]
            .assert_eq(&built.join("---\n"));
        names.insert(name);
    }
    assert_eq!(names, ["durable", "shop", "small", "tuned"].map(str::to_owned).into());
}
