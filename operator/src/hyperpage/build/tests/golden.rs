use expect_test::expect_file;

use super::{children, defaults, specs, stored};
use crate::hyperpage::validate::validate;

/// A changed template restarts the pods of everybody who upgrades the operator: it is seen here first.
#[test]
fn the_examples_build_what_is_on_record() {
    let specs = specs();
    for (name, text) in &specs {
        assert!(text.starts_with("# "), "{name}: begins with a comment that says what it shows");
        let hyperpage = stored(serde_yaml::from_str(text).unwrap());
        let valid = validate(&hyperpage, &defaults()).unwrap_or_else(|invalid| panic!("{name}: {invalid}"));
        let built: Vec<_> =
            children(&valid).iter().map(|child| serde_yaml::to_string(child).unwrap()).collect();
        expect_file![format!("{}/src/hyperpage/build/tests/golden/{name}.yaml", env!("CARGO_MANIFEST_DIR"))]
            .assert_eq(&built.join("---\n"));
    }
    let names: Vec<_> = specs.keys().collect();
    assert_eq!(names, ["authority", "durable", "external", "given", "shop", "small", "tuned"]);
}
