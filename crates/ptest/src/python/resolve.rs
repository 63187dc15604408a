//! What both installers' answers have in common: who asked, and what was promised.

use std::collections::{BTreeMap, BTreeSet};

use pep508_rs::MarkerEnvironment;

use super::installer::{InstallerError, Pinned, Resolution, ResolveRequest, Source};
use super::requirement::Requirement;

/// The interpreter's markers, or an error in the installer's name.
pub(crate) fn markers(
    request: &ResolveRequest<'_>,
    installer: &'static str,
) -> Result<MarkerEnvironment, InstallerError> {
    let interpreter = request.context.interpreter;
    interpreter
        .marker_environment()
        .ok_or_else(|| InstallerError::Answer {
            installer,
            reason: format!("Python {} has no usable version", interpreter.version),
        })
}

/// Completes the pins that an installer chose: sorted, with who was asked for, checked against
/// the hashes that the requirements allow.
pub(crate) fn complete(
    mut pins: Vec<Pinned>,
    request: &ResolveRequest<'_>,
    markers: &MarkerEnvironment,
    installer: &'static str,
) -> Result<Resolution, InstallerError> {
    let requirements = request.requirements;
    check_hashes(&pins, &requirements.hashes(markers))?;
    let names = requirements.requested_names(markers);
    let urls: BTreeSet<&str> = requirements
        .requested(markers)
        .filter_map(|(requirement, _)| match requirement {
            Requirement::Url(url) => Some(url.url.as_str()),
            _ => None,
        })
        .collect();
    for pin in &mut pins {
        pin.requested = names.contains(&pin.name)
            || match &pin.source {
                // Only what was asked for is local.
                Source::File { .. } | Source::Project { .. } => true,
                Source::Archive { url, .. } | Source::Repository { url, .. } => urls
                    .iter()
                    .any(|asked| super::redact::without_user(asked).contains(url.as_str())),
                Source::Wheel { .. } | Source::Sdist { .. } => false,
            };
    }
    pins.sort_by(|one, two| one.name.cmp(&two.name));
    if let Some(twice) = pins.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(InstallerError::Answer {
            installer,
            reason: format!("it names {} twice", twice[0].name),
        });
    }
    let exact_names = requirements.exact_names(markers);
    let exact = pins.iter().all(|pin| match &pin.source {
        Source::Project { .. } | Source::File { .. } => false,
        _ => exact_names.contains(&pin.name),
    });
    Ok(Resolution {
        distributions: pins,
        exact,
    })
}

/// As pip does: one hash in the requirements means that everything must have one.
fn check_hashes(
    pins: &[Pinned],
    allowed: &BTreeMap<String, BTreeSet<String>>,
) -> Result<(), InstallerError> {
    if allowed.is_empty() {
        return Ok(());
    }
    for pin in pins {
        let found = pin.source.sha256().unwrap_or("none");
        let Some(hashes) = allowed.get(&pin.name) else {
            return Err(InstallerError::Hash {
                name: pin.name.clone(),
                expected: "one that the requirements name, as others have one".to_owned(),
                found: found.to_owned(),
            });
        };
        // Hashes of another kind are checked by the installer that resolves.
        let sha256 = hashes
            .iter()
            .filter_map(|hash| hash.strip_prefix("sha256:"))
            .collect::<Vec<_>>();
        if !sha256.is_empty() && pin.source.sha256().is_some() && !sha256.contains(&found) {
            return Err(InstallerError::Hash {
                name: pin.name.clone(),
                expected: sha256.join(" or "),
                found: found.to_owned(),
            });
        }
    }
    Ok(())
}
