//! A machine with very many mounts, as one with many containers is.

use std::process::Command;

use ptest_testkit::{require, requirement};

use crate::context::{PTEST, TestContext};

/// Makes 600 mounts in a mount namespace of its own: half of them in the project, half beside it. Then, in an environment of
/// each profile: those in the project are there and can be written; the others are there and cannot, or are not there.
const SCRIPT: &str = r#"
set -eu
PTEST=$1
ROOT=$2
mkdir "$ROOT/source" "$ROOT/beside" inside
echo there > "$ROOT/source/file"
for place in inside "$ROOT/beside"; do
    for number in $(seq 300); do
        mkdir "$place/$number"
        mount --bind "$ROOT/source" "$place/$number"
    done
done
test "$(grep -c ptest /proc/self/mountinfo)" -ge 600
for profile in standard strict; do
    "$PTEST" create web --profile $profile
    "$PTEST" exec web -- sh -c '
        set -eu
        cat inside/*/file | wc -l
        for number in $(seq 300); do
            echo '$profile' > inside/$number/written
            if touch "$1/$number/file"; then exit 1; fi
        done 2>/dev/null
        cat "$1"/*/file 2>/dev/null | wc -l
    ' sh "$ROOT/beside"
    cat "$ROOT/source/written"
    "$PTEST" remove web
done
"#;

#[test]
fn six_hundred_mounts_of_the_machine_are_as_its_other_files_are() {
    require!(requirement::userns());
    require!(requirement::overlay());
    let context = TestContext::new();
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if requirement::root().into_result().is_err() {
        command.arg("--map-root-user");
    }
    command.args(["--", "sh", "-c", SCRIPT, "sh", PTEST]);
    let outcome = context.run_other(command.arg(context.path("")));
    let outcome = outcome.success();
    assert_eq!(outcome.stdout(), "300\n300\nstandard\n300\n0\nstrict\n");
    context.assert_nothing_is_left();
}
