//! `export` and `import`.

use std::{fs, path::Path};

use ptest_testkit::{require, requirement};

use crate::{context::TestContext, packages::with_index, reference::assert_conforms};

/// A user with an environment `web` in which a command has written.
fn user() -> TestContext {
    let context = with_index();
    let create = [
        "create",
        "web",
        "--no-pip",
        "--with",
        "alpha==1.0",
        "--env",
        "WORD=hello",
    ];
    context.run(create).success();
    let script = "echo 1 > $VIRTUAL_ENV/note";
    context
        .run(["exec", "web", "--", "sh", "-ec", script])
        .success();
    context
}

fn assert_is_what_it_was(context: &TestContext, name: &str) {
    let script = "test $WORD = hello; cat $VIRTUAL_ENV/note; python -Bc 'import alpha; print(alpha.version)'; alpha";
    let said = context
        .run(["exec", name, "--", "sh", "-ec", script])
        .success()
        .stdout();
    assert_eq!(said, "1\n1.0\nalpha 1.0\n");
    context.run(["verify", name]).success();
}

#[test]
fn an_environment_is_what_it_was_in_another_store() {
    require!(requirement::userns());
    let mut context = user();
    let packed = context.run(["export", "web", "web.tar"]).success();
    assert!(
        packed.stderr().starts_with("Packed web into web.tar: "),
        "{packed}"
    );
    context.run(["export", "web", "again.tar"]).success();
    let read = |name: &str| fs::read(context.project().join(name)).unwrap();
    assert_eq!(read("web.tar"), read("again.tar"));
    let stream = context.run(["export", "web", "-"]).success();
    assert_eq!(stream.bytes(), read("web.tar"));
    context.run(["remove", "web"]).success();

    context.set("PTEST_HOME", context.path("other store"));
    context.set("PIP_FIND_LINKS", "/nowhere");
    let unpacked = context.run(["import", "web.tar"]).success();
    assert!(
        unpacked
            .stderr()
            .starts_with("Unpacked environment web with Python 3."),
        "{unpacked}"
    );
    assert_is_what_it_was(&context, "web");
    context
        .run(["import", "web.tar", "--name", "copy"])
        .success();
    assert_is_what_it_was(&context, "copy");
    let same = context.run(["snapshot", "diff", "web", "copy"]).success();
    assert_eq!(same.stderr(), "web and copy are the same\n");
    // It is worked with as if it had been made here.
    context.run(["uninstall", "web", "alpha"]).success();
    context
        .run(["exec", "web", "--", "sh", "-ec", "cat $VIRTUAL_ENV/note"])
        .success();
    context.run(["remove", "--all"]).success();
    context.run(["gc", "--older-than", "0s"]).success();
    let layers = fs::read_dir(context.path("other store/layers")).unwrap();
    assert_eq!(layers.count(), 0);
}

#[test]
fn a_snapshot_stays_one() {
    let context = with_index();
    let create = [
        "create",
        "web",
        "--no-pip",
        "--with",
        "alpha",
        "--profile",
        "none",
    ];
    context.run(create).success();
    context.run(["snapshot", "create", "web", "kept"]).success();
    context
        .run(["export", "kept", "kept.tar", "--compression", "gzip"])
        .success();
    let before = context.run(["snapshot", "list"]).success().stdout();
    context.run(["snapshot", "remove", "kept"]).success();
    context.run(["import", "kept.tar"]).success();
    assert_eq!(context.run(["snapshot", "list"]).success().stdout(), before);
    let fork = ["create", "new", "--from", "kept", "--profile", "none"];
    context.run(fork).success();
    context
        .run(["exec", "new", "python", "-c", "import alpha"])
        .success();
    context.run(["remove", "--all"]).success();
    context.assert_nothing_is_left();
}

#[test]
fn what_cannot_be_packed_or_unpacked_leaves_nothing_and_says_why() {
    let mut context = with_index();
    let create = ["create", "web", "--no-pip", "--profile", "none"];
    context.run(create).success();
    context.run(["export", "web", "web.tar"]).success();
    let refused = |arguments: &[&str], code, said| context.assert_refused(arguments, code, said);
    let files = |directory: &Path| -> usize { fs::read_dir(directory).unwrap().count() };
    let before = files(context.project());
    refused(&["export", "webb", "x.tar"], 125, "did you mean `web`?");
    refused(&["export", "web", "no/x.tar"], 125, "no/x.tar");
    refused(
        &["export", "web", "-", "--format", "json"],
        2,
        "name a file",
    );
    refused(
        &["import", "web.tar"],
        125,
        "an environment named `web` exists",
    );
    refused(&["import", "no.tar"], 125, "no.tar");
    refused(
        &["import", "pyproject.toml", "--name", "x"],
        125,
        "cannot be imported",
    );
    refused(
        &["import", "web.tar", "--name", "a/b"],
        125,
        "cannot be a name",
    );
    assert_eq!(files(context.project()), before);
    let whole = fs::read(context.project().join("web.tar")).unwrap();
    fs::write(context.project().join("cut.tar"), &whole[..whole.len() / 2]).unwrap();
    let mut damaged = whole.clone();
    let middle = whole.len() - 4096;
    damaged[middle] ^= 1;
    fs::write(context.project().join("damaged.tar"), damaged).unwrap();
    refused(&["import", "cut.tar", "--name", "x"], 125, "cut off");
    refused(&["import", "damaged.tar", "--name", "x"], 125, "damaged");
    context.run(["remove", "web"]).success();
    context.assert_nothing_is_left();

    // Of a package whose name is taken not even layers are there.
    let with_alpha = [&create[..], &["--with", "alpha"]].concat();
    context.run(with_alpha).success();
    context.run(["export", "web", "alpha.tar"]).success();
    context.run(["remove", "web"]).success();
    context.set("PTEST_HOME", context.path("other store"));
    context.run(create).success();
    let layers = context.path("other store/layers");
    let before = files(&layers);
    let outcome = context.run(["import", "alpha.tar"]);
    assert_eq!(outcome.code(), Some(125), "{outcome}");
    assert_eq!(files(&layers), before);
    context.run(["remove", "web"]).success();
}

#[test]
fn reports_are_as_their_schemas_say() {
    let context = with_index();
    let create = [
        "create",
        "web",
        "--no-pip",
        "--with",
        "alpha",
        "--profile",
        "none",
    ];
    context.run(create).success();
    let packed = context
        .run(["export", "web", "web.tar", "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.packed", &packed);
    let size = fs::metadata(context.project().join("web.tar"))
        .unwrap()
        .len();
    assert_eq!(packed["bytes"], size);
    let unpacked = context
        .run(["import", "web.tar", "--name", "copy", "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.unpacked", &unpacked);
    assert_eq!(unpacked["kind"], "environment");
    assert_eq!(
        (&unpacked["added_layers"], &unpacked["shared_layers"]),
        (&0.into(), &packed["layers"])
    );
    let refused = context.run(["import", "no.tar", "--format", "json"]);
    assert_conforms("ptest.error", &refused.json());
    context.run(["remove", "--all"]).success();
    context.assert_nothing_is_left();
}
