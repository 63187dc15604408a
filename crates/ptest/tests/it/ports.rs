//! Leases of ports: given to one at a time, and given back with their owner.
//!
//! `PTEST_TEST_PORTS` makes the longest test longer: docs/reliability.md says how long it was once.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ptest::environment::ProcessIdentity;
use ptest::events::{Cause, Event, EventFilter};
use ptest::labels::{Labels, Selector};
use ptest::progress::Silent;
use ptest::timestamp::Timestamp;
use ptest::{
    Environment, EnvironmentSpec, ErrorKind, Fork, Lifetime, Output, PortLease, PortName,
    PortOwner, PortProtocol, PortRange, PortRequest, Ptest, Run,
};

use crate::context::{open, spec};

fn store() -> (tempfile::TempDir, Ptest) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ptest = open(&directory.path().join("store"));
    (directory, ptest)
}

fn request() -> PortRequest {
    PortRequest::new(PortOwner::Process(ProcessIdentity::current().unwrap()))
}

fn in_range(first: u16, last: u16) -> PortRequest {
    PortRequest {
        range: PortRange::new(first, last),
        ..request()
    }
}

fn one(ptest: &Ptest, request: &PortRequest) -> u16 {
    let leases = ptest.acquire_ports(request).unwrap();
    let [lease] = &leases[..] else {
        panic!("{leases:?}");
    };
    lease.port
}

fn ports(leases: &[PortLease]) -> Vec<u16> {
    leases.iter().map(|lease| lease.port).collect()
}

fn name(text: &str) -> PortName {
    text.parse().unwrap()
}

#[test]
fn a_port_is_leased_once_and_lies_where_the_kernel_gives_out_none() {
    let (_directory, ptest) = store();
    let count = NonZeroU16::new(50).unwrap();
    let leases = ptest
        .acquire_ports(&PortRequest { count, ..request() })
        .unwrap();
    let different: BTreeSet<u16> = leases.iter().map(|lease| lease.port).collect();
    assert_eq!(different.len(), 50);
    let given = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let given: Vec<u16> = given
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    assert!(
        different
            .iter()
            .all(|port| *port < given[0] || *port > given[1]),
        "{different:?}"
    );
    let mut listed = ptest.port_leases().unwrap();
    listed.sort_by_key(|lease| leases.iter().position(|it| it.port == lease.port));
    assert_eq!(listed, leases);
    for port in different {
        let refused = ptest.acquire_ports(&in_range(port, port)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Busy);
        assert!(
            refused.to_string().contains("1 leased, 0 used"),
            "{refused}"
        );
        assert!(refused.hint().unwrap().contains("ptest port list"));
    }
}

#[test]
fn a_port_that_was_given_back_comes_again_when_the_others_had_their_turn() {
    let (_directory, ptest) = store();
    let (first, last) = (20_000, 20_039);
    let mut before = Vec::new();
    for _ in 0..30 {
        let port = one(&ptest, &in_range(first, last));
        assert!(!before.contains(&port), "{port} after {before:?}");
        before.push(port);
        assert_eq!(ptest.release_ports(&[port]).unwrap(), [port]);
    }
    assert!(ptest.release_ports(&before).unwrap().is_empty());
    assert_eq!(ptest.port_leases().unwrap(), []);
}

#[test]
fn what_others_use_is_passed_over() {
    let (_directory, ptest) = store();
    let port = one(&ptest, &request());
    ptest.release_ports(&[port]).unwrap();
    let only = |protocol| PortRequest {
        protocol,
        ..in_range(port, port)
    };
    let is_busy = |request: &PortRequest| match ptest.acquire_ports(request) {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Busy);
            assert!(error.to_string().contains("0 leased, 1 used"), "{error}");
            true
        }
        Ok(leases) => {
            ptest.release_ports(&ports(&leases)).unwrap();
            false
        }
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    assert!(is_busy(&only(PortProtocol::Both)));
    assert!(is_busy(&only(PortProtocol::Tcp)));
    assert!(!is_busy(&only(PortProtocol::Udp)));
    let elsewhere = |protocol| PortRequest {
        address: Some("127.0.0.9".parse().unwrap()),
        ..only(protocol)
    };
    assert!(!is_busy(&elsewhere(PortProtocol::Both)));
    drop(listener);
    let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
    assert!(is_busy(&only(PortProtocol::Udp)));
    assert!(is_busy(&elsewhere(PortProtocol::Both)));
    assert!(!is_busy(&only(PortProtocol::Tcp)));
    drop(socket);
    assert!(!is_busy(&only(PortProtocol::Both)));
}

#[test]
fn all_that_are_asked_for_are_leased_or_none() {
    let (_directory, ptest) = store();
    let port = one(&ptest, &in_range(21_000, 21_099));
    let count = NonZeroU16::new(100).unwrap();
    let refused = ptest.acquire_ports(&PortRequest {
        count,
        ..in_range(21_000, 21_099)
    });
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    assert!(
        refused.to_string().contains("of 100 ports only "),
        "{refused}"
    );
    assert!(refused.to_string().contains(": 1 are leased"), "{refused}");
    assert_eq!(ports(&ptest.port_leases().unwrap()), [port]);
    let named = PortRequest {
        count,
        name: Some(name("web")),
        ..request()
    };
    let refused = ptest.acquire_ports(&named).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

#[test]
fn finding_a_port_works_where_all_but_the_last_are_leased() {
    let (_directory, ptest) = store();
    let range = PortRange::new(22_000, 22_299);
    let request = PortRequest { range, ..request() };
    let mut leased = Vec::new();
    loop {
        match ptest.acquire_ports(&request) {
            Ok(leases) => leased.extend(ports(&leases)),
            Err(error) => break assert_eq!(error.kind(), ErrorKind::Busy),
        }
    }
    // Some may be used on this machine.
    assert!(leased.len() > 250, "{}", leased.len());
    // In the middle of runs, at the ends of them, and beside each other.
    for given_back in [0, 150, 151, 152, leased.len() - 1] {
        assert_eq!(
            ptest.release_ports(&[leased[given_back]]).unwrap(),
            [leased[given_back]]
        );
        assert_eq!(one(&ptest, &request), leased[given_back]);
    }
    let mut some: Vec<u16> = leased.iter().copied().step_by(3).collect();
    ptest.release_ports(&some).unwrap();
    let mut again: Vec<u16> = some.iter().map(|_| one(&ptest, &request)).collect();
    some.sort_unstable();
    again.sort_unstable();
    assert_eq!(again, some);
}

fn sleeper() -> (Child, PortOwner) {
    let child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let owner = PortOwner::Process(ProcessIdentity::of(child.id()).unwrap());
    (child, owner)
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_a_dead_process_had_is_taken_over_at_need_and_released_by_the_next_opening() {
    let (directory, ptest) = store();
    let (child, owner) = sleeper();
    let (other, other_owner) = sleeper();
    let port = one(&ptest, &PortRequest::new(owner));
    let kept = one(&ptest, &PortRequest::new(other_owner.clone()));
    let only = in_range(port, port);
    assert!(ptest.acquire_ports(&only).is_err());
    end(child);
    assert_eq!(one(&ptest, &only), port);

    let third = one(&ptest, &PortRequest::new(other_owner));
    end(other);
    let opened = open(&directory.path().join("store"));
    // The opening itself has done it.
    assert!(opened.recover().unwrap().released_ports.is_empty());
    assert_eq!(ports(&ptest.port_leases().unwrap()), [port]);
    let (last, owner) = sleeper();
    let fourth = one(&ptest, &PortRequest::new(owner));
    end(last);
    let released = ptest.recover().unwrap().released_ports;
    assert_eq!(released, [fourth]);
    assert!(![kept, third].contains(&port));
}

#[test]
fn a_lease_for_a_time_ends_with_it() {
    let (_directory, ptest) = store();
    let until = |until| PortRequest::new(PortOwner::Detached { until });
    let now = Timestamp::now();
    let over = one(&ptest, &until(now));
    let lasting = one(
        &ptest,
        &until(now.after(std::time::Duration::from_hours(1))),
    );
    assert_eq!(ports(&ptest.port_leases().unwrap()), [lasting]);
    assert_eq!(one(&ptest, &in_range(over, over)), over);
    assert!(ptest.acquire_ports(&in_range(lasting, lasting)).is_err());
}

/// One with ports of these names, which ends with this process.
fn with_ports(directory: &Path, names: &[&str]) -> EnvironmentSpec {
    let mut spec = spec(directory);
    spec.lifetime = Lifetime::Process;
    spec.settings.ports = names.iter().map(|text| name(text)).collect();
    spec
}

fn said(environment: &Environment, variable: &str) -> String {
    let done = environment
        .run(Run {
            stdout: Output::default(),
            ..Run::new(["sh", "-c", &format!("printf %s \"${variable}\"")])
        })
        .unwrap();
    String::from_utf8(done.stdout.head.clone()).unwrap()
}

#[test]
fn an_environment_has_its_ports_by_name_until_it_is_removed() {
    let (directory, ptest) = store();
    let spec = with_ports(directory.path(), &["http", "my-db"]);
    let environment = ptest.create(&spec, &Silent).unwrap();
    let leases = environment.ports().unwrap();
    let of = |wanted: &str| {
        let lease = leases.iter().find(|lease| lease.name == Some(name(wanted)));
        lease.unwrap().port.to_string()
    };
    assert_eq!(leases.len(), 2);
    assert_eq!(environment.status().unwrap().ports, leases);
    assert_eq!(
        ptest.statuses(&Selector::default()).unwrap()[0].ports,
        leases
    );
    assert_eq!(said(&environment, "PTEST_PORT_HTTP"), of("http"));
    assert_eq!(said(&environment, "PTEST_PORT_MY_DB"), of("my-db"));

    let owner = PortOwner::Environment(environment.id().clone());
    let later = PortRequest {
        name: Some(name("admin")),
        ..PortRequest::new(owner.clone())
    };
    let admin = one(&ptest, &later);
    assert_eq!(said(&environment, "PTEST_PORT_ADMIN"), admin.to_string());
    let refused = ptest.acquire_ports(&later).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    let unnamed = one(&ptest, &PortRequest::new(owner.clone()));

    assert_eq!(ptest.release_ports(&[admin]).unwrap(), [admin]);
    assert_eq!(said(&environment, "PTEST_PORT_ADMIN"), "");
    assert_eq!(environment.ports().unwrap().len(), 3);
    environment.remove().unwrap();
    assert_eq!(ptest.port_leases().unwrap(), []);
    let gone = ptest.acquire_ports(&PortRequest::new(owner)).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert_eq!(one(&ptest, &in_range(unnamed, unnamed)), unnamed);
}

#[test]
fn what_becomes_of_ports_is_an_event() {
    let (directory, ptest) = store();
    let spec = with_ports(directory.path(), &["http"]);
    let environment = ptest.create(&spec, &Silent).unwrap();
    let id = environment.id().clone();
    let http = environment.ports().unwrap()[0].port;
    environment.remove().unwrap();
    let (child, owner) = sleeper();
    let (asked, died) = (
        one(&ptest, &request()),
        one(&ptest, &PortRequest::new(owner)),
    );
    ptest.release_ports(&[asked]).unwrap();
    end(child);
    ptest.recover().unwrap();
    let filter = EventFilter {
        kinds: ["port_acquired", "port_released"].map(str::to_owned).into(),
        ..EventFilter::default()
    };
    let told: Vec<_> = ptest
        .events(&filter, 100)
        .unwrap()
        .into_iter()
        .map(|recorded| match recorded.event {
            Event::PortAcquired { port, .. } => (port, None, recorded.environment),
            Event::PortReleased { port, cause, .. } => (port, Some(cause), recorded.environment),
            other => panic!("{other:?}"),
        })
        .collect();
    let id = Some(id);
    assert_eq!(
        told,
        [
            (http, None, id.clone()),
            (http, Some(Cause::EnvironmentRemoved), id),
            (asked, None, None),
            (died, None, None),
            (asked, Some(Cause::Asked), None),
            (died, Some(Cause::OwnerDied), None),
        ]
    );
    // A request that fails leaves no trace.
    let count = NonZeroU16::MAX;
    ptest
        .acquire_ports(&PortRequest { count, ..request() })
        .unwrap_err();
    assert_eq!(ptest.events(&filter, 100).unwrap().len(), told.len());
}

#[test]
fn a_variable_that_was_set_is_stronger_than_the_one_of_a_port() {
    let (directory, ptest) = store();
    let mut spec = with_ports(directory.path(), &["http"]);
    let variables = &mut spec.settings.variables;
    variables.insert("PTEST_PORT_HTTP".to_owned(), "80".to_owned());
    let environment = ptest.create(&spec, &Silent).unwrap();
    assert_eq!(said(&environment, "PTEST_PORT_HTTP"), "80");
    environment.remove().unwrap();
}

#[test]
fn what_is_made_of_an_environment_has_ports_of_its_own() {
    let (directory, ptest) = store();
    let mut source = with_ports(directory.path(), &["http", "db"]);
    source.name = Some("source".parse().unwrap());
    let source = ptest.create(&source, &Silent).unwrap();
    let later = PortRequest {
        name: Some(name("admin")),
        ..PortRequest::new(PortOwner::Environment(source.id().clone()))
    };
    one(&ptest, &later);
    let fork = || Fork {
        name: None,
        lifetime: Lifetime::Process,
        engine: None,
        settings: None,
        labels: Labels::new(),
    };
    source.snapshot(Some("kept".parse().unwrap())).unwrap();
    for of in ["source", "kept"] {
        let forked = ptest.fork(of, &[fork(), fork()]).unwrap().environments;
        for environment in &forked {
            let leases = environment.ports().unwrap();
            let names: BTreeSet<String> = leases
                .iter()
                .map(|lease| lease.name.as_ref().unwrap().to_string())
                .collect();
            assert_eq!(names, ["admin", "db", "http"].map(str::to_owned).into());
        }
        // A number is leased once.
        assert_eq!(ptest.port_leases().unwrap().len(), 3 + 2 * 3);
        for environment in forked {
            environment.remove().unwrap();
        }
    }
    assert_eq!(ptest.port_leases().unwrap().len(), 3);
    source.remove().unwrap();
}

#[test]
fn an_environment_whose_ports_are_not_to_be_had_is_not_made() {
    let (directory, ptest) = store();
    let port = one(&ptest, &request());
    let mut spec = with_ports(directory.path(), &["http"]);
    spec.settings.port_range = PortRange::new(port, port);
    let refused = ptest.create(&spec, &Silent).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    assert!(ptest.records().unwrap().is_empty());
    let twice = with_ports(directory.path(), &["http", "http"]);
    let refused = ptest.create(&twice, &Silent).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(ports(&ptest.port_leases().unwrap()), [port]);
}

/// Where the processes of the longest test work, for one of them.
const PLACE: &str = "PTEST_TEST_PORTS_PLACE";
const PROCESSES: usize = 16;
/// How many ports each of them holds at once.
const HELD: usize = 6;

/// One of many processes: holds a few ports all the time, other ones each time. A file that is there already would be a port
/// that two have.
#[test]
#[ignore = "run by the test beside it"]
fn one_of_many() {
    let place = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let cycles: usize = std::env::var("PTEST_TEST_PORTS").unwrap().parse().unwrap();
    let ptest = open(&place.join("store"));
    // So few that they come again all the time.
    let request = in_range(23_000, 23_999);
    let mut held = VecDeque::new();
    for _ in 0..cycles / PROCESSES {
        let port = one(&ptest, &request);
        File::create_new(place.join(port.to_string())).unwrap();
        held.push_back(port);
        if held.len() > HELD
            && let Some(port) = held.pop_front()
        {
            fs::remove_file(place.join(port.to_string())).unwrap();
            assert_eq!(ptest.release_ports(&[port]).unwrap(), [port]);
        }
    }
    println!("done");
}

#[test]
fn many_processes_are_never_given_the_same_port() {
    let cycles = std::env::var("PTEST_TEST_PORTS").unwrap_or_else(|_| "4000".to_owned());
    let (directory, ptest) = store();
    let begun = std::time::Instant::now();
    let children: Vec<Child> = (0..PROCESSES)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "ports::one_of_many", "--ignored", "--nocapture"])
                .env(PLACE, directory.path())
                .env("PTEST_TEST_PORTS", &cycles)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && text.contains("done"),
            "{text}\n{words}"
        );
    }
    println!("{cycles} ports in {:?}", begun.elapsed());
    // What the processes still had is released, for they are gone.
    assert_eq!(ptest.port_leases().unwrap(), []);
}
