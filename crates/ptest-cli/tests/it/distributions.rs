//! Distributions of the public index, awkward ones: they import and their commands run, and every installer makes the
//! same layers of them.

use std::{collections::BTreeSet, fs, path::Path};

use ptest_testkit::{require, requirement};

use crate::context::TestContext;

/// What leads to the index where it is not simply there.
const WAYS_TO_THE_INDEX: [&str; 10] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "PIP_INDEX_URL",
    "PIP_CERT",
    "SSL_CERT_FILE",
    "UV_DEFAULT_INDEX",
];

/// A user who has `installer` and an empty store.
fn user(installer: &str) -> TestContext {
    let mut context = TestContext::new();
    for name in WAYS_TO_THE_INDEX.into_iter().chain(["PTEST_UV"]) {
        if let Some(value) = std::env::var_os(name) {
            context.set(name, value);
        }
    }
    // Downloads are the slowest part, and not what is tested.
    for name in ["PIP_CACHE_DIR", "UV_CACHE_DIR"] {
        context.set(name, Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    }
    context.set("PTEST_INSTALLER", installer);
    context
}

/// Runs a shell script with these requirements and gives what it says.
fn script(context: &TestContext, with: &[&str], script: &str) -> String {
    let mut arguments = vec!["run"];
    for requirement in with {
        arguments.extend(["--with", requirement]);
    }
    arguments.extend(["--", "sh", "-ec", script]);
    let said = context.run(arguments).success().stdout();
    context.assert_nothing_is_left();
    said
}

/// The names of all layers in the user's store, which say all of their content.
fn layers(context: &TestContext) -> BTreeSet<String> {
    let entries = fs::read_dir(context.path("store/layers")).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Does the same with pip and with uv, in stores of their own. Gives what was said, which is the same.
fn with_each_installer(with: &[&str], text: &str) -> String {
    let (said, layers) = said_and_layers(with, text);
    // A store has a skeleton, pip, what was asked for, and that it was.
    assert!(layers.iter().all(|layers| layers.len() > 3), "{layers:?}");
    said
}

/// As [`with_each_installer`], and the layers are the same. For what pins everything: of an index that changes
/// meanwhile, or says more to one installer than to the other, each sees its own state.
fn with_the_same_layers(with: &[&str], text: &str) -> String {
    let (said, [pip, uv]) = said_and_layers(with, text);
    assert_eq!(uv, pip);
    said
}

fn said_and_layers(with: &[&str], text: &str) -> (String, [BTreeSet<String>; 2]) {
    let (pip, uv) = (user("pip"), user("uv"));
    let said = script(&pip, with, text);
    assert_eq!(script(&uv, with, text), said);
    (said, [layers(&pip), layers(&uv)])
}

#[test]
fn pip_and_uv_with_and_without_a_cache_make_the_same_layers() {
    require!(requirement::userns());
    require!(requirement::network());
    require!(requirement::uv());
    let with = [
        "requests==2.28.1",
        "PyYAML==6.0.2",
        "h2==4.1.0",
        "certifi==2024.8.30",
        "charset-normalizer==2.1.1",
        "idna==3.10",
        "urllib3==1.26.20",
        "hpack==4.0.0",
        "hyperframe==6.0.1",
    ];
    let code = "python -c 'import requests, yaml, h2; print(requests.__version__, yaml.CLoader)'";
    let cache = TestContext::new();
    let mut stores = BTreeSet::new();
    for installer in ["uv", "uv", "pip"] {
        let mut user = user(installer);
        user.set("UV_CACHE_DIR", cache.path("uv cache"));
        assert_eq!(
            script(&user, &with, code),
            "2.28.1 <class 'yaml.cyaml.CLoader'>\n"
        );
        stores.insert(layers(&user));
    }
    assert_eq!(stores.len(), 1, "{stores:?}");
}

#[test]
fn what_another_python_has_gives_the_layers_that_unpacking_gives() {
    require!(requirement::userns());
    let python = |version| requirement::python(version).or_skip("layers of two Pythons");
    let (Some(new), Some(old)) = (python("3.12"), python("3.11")) else {
        return;
    };
    let [both, one] = [&[&new, &old][..], &[&old]].map(|pythons| {
        let user = user("pip");
        for python in pythons {
            let mut command = user.command(["run", "--python"]);
            command.arg(python).args(["pip", "--version"]);
            user.outcome(command.output().unwrap()).success();
        }
        user.run(["verify", "--store"]).success();
        layers(&user)
    });
    assert!(both.is_superset(&one), "{both:?} {one:?}");
}

#[test]
fn a_source_distribution_is_built_to_the_same_layer_by_each() {
    require!(requirement::userns());
    require!(requirement::network());
    require!(requirement::uv());
    let code = "python -c 'import docopt; print(docopt.__version__)'";
    assert_eq!(with_the_same_layers(&["docopt==0.6.2"], code), "0.6.2\n");
}

#[test]
fn console_scripts_of_real_distributions_run() {
    require!(requirement::userns());
    require!(requirement::network());
    require!(requirement::uv());
    let said = with_each_installer(
        &["black==24.8.0", "django==4.2.16"],
        "echo 'x  =  1' | black -q -; cd \"$(mktemp -d)\"; django-admin startproject site1; cd site1; python manage.py check",
    );
    assert_eq!(
        said,
        "x = 1\nSystem check identified no issues (0 silenced).\n"
    );
}

#[test]
fn large_and_awkward_distributions_import_and_their_commands_and_data_are_there() {
    require!(requirement::userns());
    require!(requirement::network());
    require!(requirement::uv());
    let code = "import lxml.etree, pandas, sklearn.linear_model as m; \
                print(lxml.etree.fromstring('<a b=\"1\"/>').get('b'), \
                pandas.DataFrame({'x': [1, 2]}).x.sum(), m.LinearRegression().fit([[0], [1]], [0, 2]).coef_[0].round())";
    let text = format!(
        "python -c '{}'; jupyter-lab --version; \
         test -f \"$VIRTUAL_ENV/share/jupyter/lab/static/index.html\"",
        code.replace('\'', "'\\''")
    );
    let with = [
        "pandas==2.2.3",
        "lxml==5.3.0",
        "scikit-learn==1.5.2",
        "jupyterlab==4.2.5",
    ];
    let said = script(&user("uv"), &with, &text);
    assert_eq!(said, "1 3 2.0\n4.2.5\n");
}

#[test]
fn a_distribution_with_libraries_beside_it_is_whole() {
    require!(requirement::userns());
    require!(requirement::network());
    require!(requirement::uv());
    let said = with_each_installer(
        &["numpy"],
        "python -c 'import numpy; print(numpy.linalg.inv([[2.0]]))'; f2py -v >/dev/null; test -d /ptest/env/lib/python3*/site-packages/numpy.libs",
    );
    assert_eq!(said, "[[0.5]]\n");
}

#[test]
fn of_a_module_that_two_distributions_bring_always_the_same_is_seen() {
    require!(requirement::userns());
    require!(requirement::network());
    require!(requirement::uv());
    let needed = ["cryptography==43.0.3", "cffi==1.17.1", "pycparser==2.22"];
    let code =
        "python -c 'import jwt; print(jwt.__version__)'; pip list 2>/dev/null | grep -ic jwt";
    let mut seen = BTreeSet::new();
    for (installer, [first, second]) in [
        ("pip", ["jwt==1.3.1", "PyJWT==2.9.0"]),
        ("uv", ["PyJWT==2.9.0", "jwt==1.3.1"]),
    ] {
        let user = user(installer);
        let with = [first, second, needed[0], needed[1], needed[2]];
        assert_eq!(script(&user, &with, code), "2.9.0\n2\n");
        seen.insert(layers(&user));
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[test]
fn distributions_that_share_a_namespace_are_both_there() {
    require!(requirement::userns());
    require!(requirement::network());
    require!(requirement::uv());
    let said = with_each_installer(
        &["google-cloud-storage", "google-cloud-bigquery"],
        "python -c 'import google.cloud.storage, google.cloud.bigquery as b; print(b.Client.__name__)'",
    );
    assert_eq!(said, "Client\n");
}
