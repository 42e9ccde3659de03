//! The Dockerfile, as far as text can tell without a registry to pull its bases from; and the commands that
//! `make images REGISTRY=…` gives to a container tool, recorded by one that does nothing else.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tests::binaries::{output, workspace};
use tests::scratch::Scratch;

use crate::tree::{Tree, assert_caught, assert_clean};

const DOCKERFILE: &str = "Dockerfile";

/// Instructions with their arguments; lines that end in a backslash go on in the next.
fn instructions(text: &str) -> Vec<(String, String)> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.trim().to_owned())).collect()
}

/// `${NAME}` by the defaults of the build arguments before the first stage.
fn filled(text: &str, args: &[(String, String)]) -> String {
    args.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
}

fn docker_problems(tree: &Tree) -> Vec<String> {
    let text = tree.files.get(DOCKERFILE).map_or("", String::as_str);
    let (mut problems, mut args, mut stages) = (Vec::new(), Vec::new(), Vec::<(String, bool, bool)>::new());
    for (instruction, rest) in instructions(text) {
        match instruction.as_str() {
            "ARG" if stages.is_empty() => match rest.split_once('=') {
                Some((name, value)) => args.push((name.to_owned(), value.to_owned())),
                None => problems.push(format!("ARG {rest}: a base needs a default")),
            },
            "FROM" => {
                let Some((base, stage)) = rest.split_once(" AS ") else {
                    problems.push(format!("FROM {rest}: the stage has no name"));
                    continue;
                };
                let (base, tag) = (filled(base, &args), filled(base, &args));
                let tag = tag
                    .rsplit('/')
                    .next()
                    .and_then(|name| name.split_once(':'))
                    .map(|(_, tag)| tag.to_owned());
                let stage_of_ours = stages.iter().any(|(name, ..)| *name == base);
                if !stage_of_ours && tag.is_none_or(|tag| tag == "latest" || tag.contains('$')) {
                    problems.push(format!("FROM {base}: no tag that stays"));
                }
                stages.push((stage.to_owned(), false, false));
            }
            "COPY" => problems.extend(copied(tree, &stages, &rest)),
            "USER" => {
                let named = rest.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0));
                if !named {
                    problems.push(format!("USER {rest}: not a number but root's; runAsNonRoot wants one"));
                }
                stages.iter_mut().last().into_iter().for_each(|stage| stage.1 = true);
            }
            "ENTRYPOINT" => stages.iter_mut().last().into_iter().for_each(|stage| stage.2 = true),
            _ => {}
        }
    }
    // What is started must not be started as root.
    let careless = stages.iter().filter(|(_, user, entrypoint)| *entrypoint && !user);
    problems.extend(careless.map(|(stage, ..)| format!("{stage}: no USER")));
    problems
}

fn copied(tree: &Tree, stages: &[(String, bool, bool)], rest: &str) -> Vec<String> {
    let mut words: Vec<_> = rest.split_whitespace().collect();
    words.pop();
    let from = words.iter().find_map(|word| word.strip_prefix("--from="));
    if let Some(from) = from {
        let known = stages.iter().any(|(stage, ..)| stage == from);
        return (!known).then(|| format!("COPY --from={from}: no such stage")).into_iter().collect();
    }
    let missing = words.iter().filter(|path| !path.starts_with("--") && !tree.has(path));
    missing.map(|path| format!("COPY {path}: not in the tree")).collect()
}

#[test]
fn the_dockerfile_copies_what_exists_from_bases_that_stay_and_starts_nothing_as_root() {
    let tree = Tree::read();
    assert_clean(docker_problems(&tree));
    let text = &tree.files[DOCKERFILE];
    // Every member of the workspace is needed to read it, and both programs come from its build.
    let members = tree.files["Cargo.toml"].split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    for member in members.split(", ").map(|member| member.trim_matches('"')) {
        assert!(text.contains(&format!("COPY {member} {member}\n")), "{member}");
    }
    for program in ["operator", "sidecar"] {
        let binary = format!("hyperpage-{program}");
        assert!(tree.files[&format!("{program}/Cargo.toml")].contains(&format!("name = \"{binary}\"")));
        assert!(
            text.contains(&format!("--bin {binary}"))
                && text.contains(&format!("ENTRYPOINT [\"/{binary}\"]"))
        );
    }
    assert!(tree.files["Cargo.toml"].contains("[profile.dist]") && text.contains("--profile dist"));
}

#[test]
fn rules_about_the_dockerfile_bite() {
    let check = |text: &str| docker_problems(&Tree::of(&[(DOCKERFILE, text), ("a/b", "b")]));
    let fine = "ARG V=1\nFROM x/rust:${V} AS build\nCOPY a a\nFROM build AS run\nCOPY --from=build a /a\nUSER 1:1\nENTRYPOINT [\"/a\"]\n";
    assert_caught(&check(fine), &[]);
    assert_caught(&check(&fine.replace(":${V}", "")), &["no tag that stays"]);
    assert_caught(&check(&fine.replace("${V}", "latest")), &["no tag that stays"]);
    assert_caught(&check(&fine.replace("ARG V=1\n", "")), &["no tag that stays"]);
    assert_caught(&check(&fine.replace("FROM build AS run", "FROM build")), &["the stage has no name"]);
    assert_caught(&check(&fine.replace("COPY a a", "COPY a \\\n c a")), &["COPY c: not in the tree"]);
    assert_caught(&check(&fine.replace("--from=build", "--from=built")), &["no such stage"]);
    assert_caught(&check(&fine.replace("USER 1:1", "USER 0")), &["USER 0"]);
    assert_caught(&check(&fine.replace("USER 1:1\n", "")), &["run: no USER"]);
}

/// `make images` under a PATH whose container tools write down what they are told; `works` is what `info` answers.
fn images(works: bool, env: &[(&str, &str)]) -> (anyhow::Result<String>, String) {
    let dir = Scratch::new("tools");
    let record = dir.write("record", "");
    for tool in ["docker", "podman", "buildah"] {
        let answer = if works { 0 } else { 1 };
        let script = format!(
            "#!/bin/sh\n[ \"$1\" != info ] || exit {answer}\necho \"{tool} $*\" >>'{}'\n",
            record.display()
        );
        let file = dir.write(tool, &script);
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("ours");
    }
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    let mut make = Command::new("make");
    make.args(["-s", "images"]).current_dir(workspace()).env("PATH", path).envs(env.iter().copied());
    let said = output(make.env_remove("CLUSTER"));
    (said, std::fs::read_to_string(record).expect("the record"))
}

#[test]
fn make_images_names_pushes_or_says_what_is_missing() {
    let version = env!("CARGO_PKG_VERSION");
    let registry = ("REGISTRY", "registry.test/team/");
    let (said, record) = images(true, &[registry]);
    said.unwrap();
    let lines: Vec<_> = record.lines().collect();
    assert_eq!(lines.len(), 3, "{record}");
    for (line, name) in lines.iter().zip(["operator", "sidecar", "demo"]) {
        assert!(line.starts_with("docker build ") && line.contains(&format!("--target {name} ")), "{line}");
        assert!(line.contains(&format!("--tag registry.test/team/hyperpage-{name}:{version} ")), "{line}");
    }
    let (said, record) = images(true, &[registry, ("PUSH", "1")]);
    said.unwrap();
    let pushed = record.lines().filter(|line| line.starts_with("docker push registry.test/team/hyperpage-"));
    assert_eq!((pushed.count(), record.lines().count()), (3, 6), "{record}");
    let (said, record) = images(false, &[registry]);
    let said = said.unwrap_err().to_string();
    assert!(said.contains("none of docker podman buildah") && record.is_empty(), "{said}{record}");
}
