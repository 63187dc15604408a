//! The same for an ordinary user: no privilege is needed for anything, and no mode is in the way.

use crate::support::{again, is_root, skip};

#[test]
fn everything_holds_for_an_ordinary_user_too() {
    if !is_root() {
        return skip("root", "the other tests already run as an ordinary user");
    }
    let output = again::as_nobody(&[
        "commit::",
        "hostile::",
        "materialize::",
        "open::",
        "overlay::",
        "pack::",
        "package_damaged::",
        "package_form::",
        "package_hostile::",
        "properties::",
        "trash::",
        "verify::",
    ]);
    again::assert_success(&output);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("running 0 tests"), "{text}");
}
