//! `ptest config`.

use std::fs;

use insta::assert_snapshot;
use serde_json::json;

use crate::{context::TestContext, reference::assert_conforms};

#[test]
fn list_shows_each_value_and_its_origin() {
    let mut context = TestContext::new();
    context.write("home/.config/ptest/config.toml", "# mine\ngrace = '3s'\n");
    context.write("project/ptest.toml", "python = '3.12'\n[env]\nA = 'b'\n");
    context.set("PTEST_PASS", "CI,DISPLAY");
    assert_snapshot!(context.run(["config", "list"]).success().columns(), @r#"
    SETTING VALUE ORIGIN
    home "[ROOT]/store" PTEST_HOME
    python "3.12" [ROOT]/project/ptest.toml:1
    engine "virtualenv" built-in
    profile - built-in
    network - built-in
    allow [] built-in
    user_home "private" built-in
    timeout - built-in
    grace "3s" [ROOT]/home/.config/ptest/config.toml:2
    ttl - built-in
    idle - built-in
    memory - built-in
    cpus - built-in
    pids - built-in
    cpu_time - built-in
    open_files - built-in
    file_size - built-in
    disk - built-in
    alerts [] built-in
    hooks [] built-in
    busy_timeout "1m" built-in
    max_environments - built-in
    max_memory - built-in
    max_disk - built-in
    wait "0s" built-in
    env { A = "b" } [ROOT]/project/ptest.toml:2
    pass ["CI", "DISPLAY"] PTEST_PASS
    port_range - built-in
    write [] built-in
    bind_socket [] built-in
    scratch false built-in
    degrade false built-in
    read [] built-in
    hard_links false built-in
    installer "auto" built-in
    pip true built-in
    resolve_ttl "24h" built-in
    improve false PTEST_IMPROVE
    keep_events 100000 built-in
    keep_events_for "720h" built-in
    keep_runs 1000 built-in
    keep_runs_for "168h" built-in
    keep_output "16M" built-in
    log "info" built-in
    log_file - built-in
    otlp_endpoint - built-in
    progress "auto" built-in
    color "auto" built-in
    "#);
}

#[test]
fn list_as_json_conforms_to_its_schema() {
    let context = TestContext::new();
    context.write("project/ptest.toml", "python = '3.12'\n");
    let report = context
        .run(["config", "list", "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.config", &report);
    let python = report["settings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["key"] == "python")
        .unwrap()
        .clone();
    let file = context.path("project/ptest.toml");
    assert_eq!(
        python,
        json!({
            "key": "python",
            "value": "3.12",
            "source": "project",
            "file": file.to_str().unwrap(),
            "line": 1,
            "variable": "PTEST_PYTHON",
        })
    );
}

#[test]
fn get_prints_the_value_alone() {
    let context = TestContext::new();
    assert_eq!(
        context.run(["config", "get", "grace"]).success().stdout(),
        "10s\n"
    );
    let unset = context.run(["config", "get", "pids"]).success();
    assert_eq!(
        (unset.stdout(), unset.stderr()),
        (String::new(), "pids is not set\n".to_owned())
    );
    let report = context
        .run(["config", "get", "pip", "--format=json"])
        .success()
        .json();
    assert_conforms("ptest.config", &report);
    assert_eq!(report["settings"][0]["value"], json!(true));
}

#[test]
fn an_option_is_the_strongest_source() {
    let context = TestContext::new();
    let home = context
        .run(["config", "get", "home", "--ptest-home", "elsewhere"])
        .success();
    assert_eq!(home.stdout(), "[ROOT]/project/elsewhere\n");
}

#[test]
fn set_changes_the_users_file_and_keeps_its_comments() {
    let context = TestContext::new();
    context.write("home/.config/ptest/config.toml", "# mine\npids = 4 # few\n");
    let set = context.run(["config", "set", "pids", "40"]).success();
    assert_eq!(set.stdout(), "");
    assert_eq!(
        set.stderr(),
        "Set pids in [ROOT]/home/.config/ptest/config.toml\n"
    );
    let text = fs::read_to_string(context.path("home/.config/ptest/config.toml")).unwrap();
    assert_eq!(text, "# mine\npids = 40 # few\n");
    assert_eq!(
        context.run(["config", "get", "pids"]).success().stdout(),
        "40\n"
    );
}

#[test]
fn set_refuses_what_is_wrong_and_changes_nothing() {
    let context = TestContext::new();
    assert_snapshot!(context.run(["config", "set", "pids", "-4"]), @r"
    exit: 125
    ----- stdout -----

    ----- stderr -----
    error: argument: `pids` must be a whole number from 1 to 4294967295, not `-4`
    ");
    assert!(!context.path("home/.config").exists());
    let unknown = context.run(["config", "set", "pid", "4"]);
    assert_eq!(unknown.code(), Some(2));
    assert!(unknown.stderr().contains("'pids'"), "{unknown}");
}

#[test]
fn a_broken_file_is_named_with_line_and_the_nearest_key() {
    let context = TestContext::new();
    context.write("project/ptest.toml", "\ntimout = '5s'\n");
    assert_snapshot!(context.run(["config", "list"]), @r"
    exit: 125
    ----- stdout -----

    ----- stderr -----
    error: [ROOT]/project/ptest.toml:2:1: there is no setting `timout`
    hint: did you mean `timeout`?
    ");
    let report = context.run(["config", "list", "--format", "json"]);
    assert_eq!(report.code(), Some(125));
    assert_conforms("ptest.error", &report.json());
    assert_eq!(
        report.json()["error"]["hint"],
        json!("did you mean `timeout`?")
    );
}

#[test]
fn path_shows_the_files_even_if_one_is_broken() {
    let context = TestContext::new();
    context.write("project/ptest.toml", "timout = '5s'\n");
    assert_snapshot!(context.run(["config", "path"]), @r"
    exit: 0
    ----- stdout -----
    /etc/ptest/config.toml
    [ROOT]/home/.config/ptest/config.toml
    [ROOT]/project/ptest.toml
    ----- stderr -----
    ");
    let report = context
        .run(["config", "path", "--format", "json"])
        .success()
        .json();
    assert_conforms("ptest.config_paths", &report);
    assert_eq!(report["files"][2]["exists"], json!(true));
}

#[test]
fn a_user_without_a_home_is_told_so() {
    let mut context = TestContext::new();
    context.set("HOME", "");
    assert_snapshot!(context.run(["config", "set", "pids", "4"]), @r"
    exit: 125
    ----- stdout -----

    ----- stderr -----
    error: the user's configuration file has no place
    hint: set HOME or XDG_CONFIG_HOME to an absolute path
    ");
}
