//! `ptest port`: numbers of ports that nobody else is given.

use std::{collections::BTreeMap, ffi::OsString, net::IpAddr, num::NonZeroU16};

use clap::{Args, Subcommand};
use ptest::{
    ErrorKind, PortLease, PortName, PortOwner, PortProtocol, PortRange, PortRequest, Ptest,
    config::Timeout,
    environment::{EnvironmentId, ProcessIdentity},
};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions},
    table,
    ui::Ui,
};
use ptest_report::{PortsReport, ReleasedPortsReport};

/// Lease ports of this machine: numbers that no other caller of ptest is given meanwhile.
///
/// A lease opens nothing; who has it binds the port. `ptest run --port http` and `ptest create NAME --port http` lease one
/// for an environment, whose commands find it in PTEST_PORT_HTTP.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lease ports, and write their numbers, one on each line.
    ///
    /// Each was free on this machine when it was leased: it was bound, and let go. Without `--for` and `--ttl` the lease
    /// ends with the program that called ptest: a shell or script (not the subshell of a `$(…)` or a pipe), a test runner.
    Acquire(Acquire),
    /// End leases.
    ///
    /// Nothing is closed: who has bound a port keeps it.
    Release {
        /// The ports.
        #[arg(
            required_unless_present = "environment",
            conflicts_with = "environment",
            value_name = "PORT",
            value_parser = clap::value_parser!(u16).range(1..)
        )]
        ports: Vec<u16>,
        /// All that this environment has: its name or id.
        #[arg(long = "for", value_name = "ENVIRONMENT")]
        environment: Option<OsString>,
        #[command(flatten)]
        report: ReportOptions,
    },
    /// Show which ports are leased, and to whom.
    List(ReportOptions),
}

#[derive(Args, Debug)]
struct Acquire {
    /// How many: all of them or none.
    #[arg(long, value_name = "N", default_value = "1")]
    count: NonZeroU16,
    /// Which may be taken, such as 20000-29999 [default: as configured, else those that the kernel gives to nobody by
    /// itself, from 20000 up].
    #[arg(long, value_name = "FIRST-LAST")]
    range: Option<PortRange>,
    /// Lease it to this environment, with which the lease ends: its name or id.
    #[arg(long = "for", value_name = "ENVIRONMENT")]
    environment: Option<OsString>,
    /// What for: with `--for`, commands of the environment find the number in PTEST_PORT_NAME.
    #[arg(long, value_name = "NAME")]
    name: Option<PortName>,
    /// For TCP [default: TCP and UDP].
    #[arg(long)]
    tcp: bool,
    /// For UDP [default: TCP and UDP].
    #[arg(long)]
    udp: bool,
    /// Free at this address of the machine is enough [default: at every one, of IPv4 and IPv6].
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// End the lease after this time, such as 1h, whoever lives.
    #[arg(long, value_name = "DURATION", conflicts_with = "environment")]
    ttl: Option<Timeout>,
    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    match arguments.action {
        Action::Acquire(arguments) => acquire(ui, context, arguments),
        Action::Release {
            ports,
            environment,
            report,
        } => release(ui, context, &ports, environment, report.format),
        Action::List(report) => list(ui, context, report.format),
    }
}

fn acquire(ui: &Ui, context: &Context, arguments: Acquire) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let owner = match (&arguments.environment, arguments.ttl) {
        (Some(label), _) => PortOwner::Environment(context.find(&store, label)?.id().clone()),
        (None, Some(ttl)) => PortOwner::detached_for(ttl.duration()),
        (None, None) => caller(context)?,
    };
    let leases = store.acquire_ports(&PortRequest {
        owner,
        count: arguments.count,
        range: arguments.range.or(*config.port_range),
        protocol: match (arguments.tcp, arguments.udp) {
            (true, false) => PortProtocol::Tcp,
            (false, true) => PortProtocol::Udp,
            _ => PortProtocol::Both,
        },
        address: arguments.address,
        name: arguments.name,
    })?;
    if arguments.report.format == Format::Json {
        ui.json(&PortsReport::new(&leases))?;
    } else {
        let lines: String = leases.iter().map(|it| format!("{}\n", it.port)).collect();
        ui.data(lines)?;
    }
    Ok(Exit::Success)
}

/// The program that called: ptest itself ends before anybody uses the port.
fn caller(context: &Context) -> Result<PortOwner, CliError> {
    let Some(parent) = context.host().parent else {
        return Err(CliError::Usage {
            message: "nobody is to be seen who called, and to whom the port could be leased"
                .to_owned(),
            hint: Some("say how long with `--ttl`, or for which environment with `--for`"),
        });
    };
    Ok(PortOwner::Process(ProcessIdentity::of_program(parent)?))
}

fn release(
    ui: &Ui,
    context: &Context,
    ports: &[u16],
    environment: Option<OsString>,
    format: Format,
) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let released = match environment {
        Some(label) => store.release_ports_of(context.find(&store, &label)?.id())?,
        None => store.release_ports(ports)?,
    };
    let failed: Vec<(u16, CliError)> = ports
        .iter()
        .filter(|port| !released.contains(port))
        .map(|port| (*port, not_leased(*port)))
        .collect();
    for (_, error) in &failed {
        ui.explain(error);
    }
    let exit = if failed.is_empty() {
        Exit::Success
    } else {
        Exit::Failed
    };
    if format == Format::Json {
        ui.json(&ReleasedPortsReport::new(released, &failed))?;
    } else {
        for port in released {
            ui.done("Released", port);
        }
    }
    Ok(exit)
}

fn not_leased(port: u16) -> CliError {
    ptest::Error::new(ErrorKind::NotFound, format!("port {port} is not leased"))
        .with_hint("`ptest port list` shows which are")
        .into()
}

fn list(ui: &Ui, context: &Context, format: Format) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let store = context.open(&config, false)?;
    let leases = store.port_leases()?;
    if format == Format::Json {
        ui.json(&PortsReport::new(&leases))?;
        return Ok(Exit::Success);
    }
    if leases.is_empty() {
        ui.note("no port is leased");
        return Ok(Exit::Success);
    }
    let labels = labels(&store)?;
    let rows: Vec<Vec<String>> = leases
        .iter()
        .map(|lease| {
            vec![
                lease.port.to_string(),
                protocol(lease.protocol).to_owned(),
                lease
                    .address
                    .map_or_else(|| "any".to_owned(), |address| address.to_string()),
                lease
                    .name
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), ToString::to_string),
                owner(&lease.owner, &labels),
                lease.acquired_at.to_string(),
            ]
        })
        .collect();
    ui.data(table::render(
        &["PORT", "PROTOCOL", "ADDRESS", "NAME", "OWNER", "ACQUIRED"],
        &rows,
    ))?;
    Ok(Exit::Success)
}

fn labels(store: &Ptest) -> Result<BTreeMap<EnvironmentId, String>, CliError> {
    let records = store.records()?.into_iter();
    Ok(records
        .map(|record| (record.id.clone(), record.label().to_owned()))
        .collect())
}

fn owner(owner: &PortOwner, labels: &BTreeMap<EnvironmentId, String>) -> String {
    match owner {
        PortOwner::Environment(id) => {
            let label = labels.get(id).map_or(id.as_str(), String::as_str);
            format!("environment {label}")
        }
        PortOwner::Process(identity) => format!("process {}", identity.pid),
        PortOwner::Detached { until } => format!("until {until}"),
    }
}

/// The ports of an environment in one word.
pub(super) fn brief(leases: &[PortLease]) -> String {
    if leases.is_empty() {
        return "-".to_owned();
    }
    let words: Vec<String> = leases
        .iter()
        .map(|lease| match &lease.name {
            Some(name) => format!("{name}={}", lease.port),
            None => lease.port.to_string(),
        })
        .collect();
    words.join(",")
}

/// A port of an environment with what is to know of it.
pub(super) fn full(lease: &PortLease) -> String {
    let at = lease
        .address
        .map_or_else(String::new, |address| format!(" at {address}"));
    let protocol = protocol(lease.protocol);
    match &lease.name {
        Some(name) => format!("{name} {} ({protocol}{at})", lease.port),
        None => format!("{} ({protocol}{at})", lease.port),
    }
}

fn protocol(protocol: PortProtocol) -> &'static str {
    match protocol {
        PortProtocol::Both => "tcp,udp",
        one => one.as_str(),
    }
}
