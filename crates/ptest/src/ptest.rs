//! One open store: where environments are made, found and put right.
//!
//! Not for what is done with one environment: that is [`Environment`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ptest_store::{Stack, Store};
use tracing::debug;

use crate::apply::{self, Mark};
use crate::config::{Config, Size};
use crate::engine::{Capability, Engine, Instance, Usage};
use crate::environment::table::{self, Change, Record};
use crate::environment::{
    Environment, EnvironmentId, Name, Owner, ProcessIdentity, State, Status, Transition,
};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Cause, Event, Retention};
use crate::hooks::CAUSE;
use crate::init_program::InitProgram;
use crate::labels::Selector;
use crate::lease::Lease;
use crate::lock::{Lock, Locks};
use crate::names::Thing;
use crate::operation;
use crate::ports::{self, PortLease, Spans};
use crate::progress::{Progress, Step};
use crate::provision::{Provision, Provisioned, Provisioner};
use crate::python::HostEnv;
use crate::recover::Recovery;
use crate::room::Room;
use crate::settings::Settings;
use crate::spec::{EnvironmentSpec, Lifetime};
use crate::steps::reach;
use crate::tidy::Housekeeping;
use crate::timestamp::Timestamp;

/// How long an operation waits for another on the same environment, unless said otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// An environment whose row is written and whose instance is to be made, with its lock.
pub(crate) type Entered = (Record, Stack, Lock);

/// Where an environment comes from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Descent<'a> {
    /// The name or id of what it is made of, if it is made of another or of a snapshot.
    pub(crate) source: Option<&'a str>,
    /// The file that declares it.
    pub(crate) mark: Option<&'a Mark>,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The directory of the store (`PTEST_HOME`).
    pub home: PathBuf,
    /// The calling process.
    pub host: HostEnv,
    /// How distributions are chosen and brought.
    pub provision: Provision,
    /// What is kept of the past.
    pub housekeeping: Housekeeping,
    /// How long an operation waits for others on the same environment; not at all when it is zero.
    pub patience: Duration,
    /// How much there may be at once.
    pub room: Room,
}

impl OpenOptions {
    /// A store at `home` with everything else as it usually is.
    pub fn new(home: impl Into<PathBuf>, host: HostEnv, provision: Provision) -> Self {
        Self {
            home: home.into(),
            host,
            provision,
            housekeeping: Housekeeping::default(),
            patience: PATIENCE,
            room: Room::default(),
        }
    }

    /// A store that is opened as a configuration says.
    ///
    /// # Errors
    ///
    /// When the configuration does not say where it is.
    pub fn configured(config: &Config, host: HostEnv) -> Result<Self> {
        Ok(Self {
            home: config.store_home()?.to_owned(),
            host,
            provision: Provision {
                resolve_lifetime: *config.resolve_ttl,
                ..Provision::new(*config.installer)
            },
            housekeeping: Housekeeping {
                events: Retention {
                    count: config.keep_events.get(),
                    age: *config.keep_events_for,
                },
                runs: Retention {
                    count: config.keep_runs.get(),
                    age: *config.keep_runs_for,
                },
            },
            patience: *config.busy_timeout,
            room: Room {
                environments: config.max_environments.map(NonZeroU32::get),
                memory: config.max_memory.map(Size::bytes),
                disk: config.max_disk.map(Size::bytes),
                patience: *config.wait,
            },
        })
    }
}

/// One open store. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Ptest {
    inner: Arc<Inner>,
    provisioner: Arc<Provisioner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    host: HostEnv,
    engines: BTreeMap<&'static str, Arc<dyn Engine>>,
    housekeeping: Housekeeping,
    patience: Duration,
    room: Room,
    /// What opening put right, until somebody asks.
    recovered: Mutex<Recovery>,
    runtime: tokio::runtime::Runtime,
    identity: ProcessIdentity,
    /// The ports that are leased to who names none, once it was asked for.
    usual_ports: OnceLock<Spans>,
    /// Held as long as it may be started from here.
    _program: InitProgram,
    locks: Locks,
}

impl Ptest {
    /// Opens the store, makes it on first use, and puts right what dead
    /// processes left. What cannot be put right now is no reason not to open it:
    /// it stays as it is, and the next opening tries again.
    pub fn open(options: OpenOptions) -> Result<Self> {
        let store = Store::open(&options.home)?;
        let engines = crate::engine::all(&store)?;
        Self::assemble(store, options, engines)
    }

    /// Opens a store with engines of the caller's own, for tests and plug-ins.
    pub fn with_engines(
        store: Store,
        host: HostEnv,
        provision: Provision,
        engines: Vec<Arc<dyn Engine>>,
    ) -> Result<Self> {
        let options = OpenOptions::new(store.home(), host, provision);
        Self::assemble(store, options, engines)
    }

    pub(crate) fn assemble(
        store: Store,
        options: OpenOptions,
        engines: Vec<Arc<dyn Engine>>,
    ) -> Result<Self> {
        let OpenOptions {
            host,
            mut provision,
            housekeeping,
            patience,
            room,
            ..
        } = options;
        store
            .database()
            .migrate("ptest", crate::schema::MIGRATIONS)?;
        if let Some(sequence) = host.text(CAUSE).and_then(|text| text.parse().ok()) {
            operation::set_cause(sequence);
        }
        let program = InitProgram::install(&store.dir("bin")?)?;
        if provision.supervision.attendant.is_none() {
            provision.supervision.attendant = Some(program.path().to_owned());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|source| Error::io("start the runtime", source))?;
        let ptest = Self {
            provisioner: Arc::new(Provisioner::new(provision, host.clone())),
            inner: Arc::new(Inner {
                housekeeping,
                patience,
                room,
                recovered: Mutex::default(),
                locks: Locks::of(&store)?,
                store,
                host,
                engines: engines
                    .into_iter()
                    .map(|engine| (engine.name(), engine))
                    .collect(),
                runtime,
                identity: ProcessIdentity::current()?,
                usual_ports: OnceLock::new(),
                _program: program,
            }),
        };
        let recovery = ptest.recover()?;
        *ptest
            .opening()
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = recovery;
        Ok(ptest)
    }

    /// The same store, for work that brings distributions in another way: that can be stopped alone, or chooses anew.
    #[must_use]
    pub fn provisioned(&self, change: impl FnOnce(&mut Provision)) -> Self {
        let mut options = self.provisioner.options().clone();
        change(&mut options);
        Self {
            inner: Arc::clone(&self.inner),
            provisioner: Arc::new(self.provisioner.with_options(options)),
        }
    }

    /// Makes an environment.
    ///
    /// Either it is there, wholly, or nothing of it is left.
    pub fn create(&self, spec: &EnvironmentSpec, progress: &dyn Progress) -> Result<Environment> {
        let label = spec.name.as_ref().map_or("", Name::as_str);
        self.operation("create", label, || {
            self.with_room(|| self.create_now(spec, progress))
        })
    }

    fn create_now(&self, spec: &EnvironmentSpec, progress: &dyn Progress) -> Result<Environment> {
        self.check(spec)?;
        self.check_disk()?;
        let entered = self.begin(spec, progress)?;
        let environment = self.realize(entered, spec.lifetime)?;
        progress.step(Step::Created);
        Ok(environment)
    }

    /// Makes the instance of an environment whose row is written.
    pub(crate) fn realize(&self, entered: Entered, lifetime: Lifetime) -> Result<Environment> {
        let (record, stack, lock) = entered;
        let engine = self.engine(&record.engine)?;
        // Why it failed is what the caller must know. What cannot be taken back now is recorded, and
        // is taken away by the next opening or, if it failed for good, by a removal.
        let created = reach("create.row")
            .and_then(|()| self.block_on(engine.create(&instance_on(&record, stack))))
            .and_then(|()| reach("create.instance"))
            .and_then(|()| self.step(&record, &Event::Created {}, Change::default()));
        if let Err(error) = created {
            let taken = self.take_away(&record, Cause::CreationFailed, lock);
            operation::passed_over("take away what was made", taken);
            return Err(error);
        }
        Ok(Environment::new(self.clone(), record.id, lifetime))
    }

    /// Chooses the stack of an environment and writes its row.
    fn begin(&self, spec: &EnvironmentSpec, progress: &dyn Progress) -> Result<Entered> {
        let mut lease = None;
        loop {
            let provisioned = self.provisioner().provision(
                self.store(),
                spec.python.as_deref(),
                &spec.requirements,
                lease.take(),
                progress,
            )?;
            let (stack, is_kept) = (provisioned.stack.id(), provisioned.lease.is_some());
            match self.enter(spec, provisioned, Descent::default())? {
                Some(entered) => {
                    operation::concerns(&entered.0);
                    return Ok(entered);
                }
                // Collected in the moment between. What is chosen under a lease is not.
                None if !is_kept => lease = Some(Lease::take(self.store())?),
                None => return Err(ptest_store::Error::StackMissing { id: stack }.into()),
            }
        }
    }

    /// Writes the row of an environment, from which on its stack is kept; `None` when it was collected
    /// before.
    pub(crate) fn enter(
        &self,
        spec: &EnvironmentSpec,
        provisioned: Provisioned,
        descent: Descent<'_>,
    ) -> Result<Option<Entered>> {
        spec.settings.check()?;
        let record = Record {
            id: EnvironmentId::from_random(crate::random::bytes()?),
            name: spec.name.clone(),
            engine: spec.engine.clone(),
            state: State::Creating,
            owner: match spec.lifetime {
                Lifetime::Process => Owner::Process(self.inner.identity.clone()),
                Lifetime::Detached => Owner::Detached,
            },
            stack: provisioned.stack.id(),
            generation: 0,
            recipe: provisioned.recipe,
            python: Arc::new(provisioned.python),
            requirements: Arc::new(spec.requirements.clone()),
            settings: Arc::new(spec.settings.clone()),
            achieved: None,
            error: None,
            created_at: Timestamp::now(),
            activated_at: None,
            deactivated_at: None,
        };
        let lock = self.lock(&record)?;
        let event = Event::Creating {
            python: record.python.version.clone(),
            engine: record.engine.clone(),
            source: descent.source.map(str::to_owned),
        };
        let settings = &record.settings;
        let inserted = table::insert(self.store().database(), &record, &event, |transaction| {
            self.room().check_count(transaction)?;
            if let Some(mark) = descent.mark {
                apply::table::set(transaction, &record.id, mark)?;
            }
            if settings.ports.is_empty() {
                return Ok(());
            }
            let spans = self.port_spans(settings.port_range);
            ports::lease_named(
                transaction,
                &record.id,
                &settings.ports,
                &spans,
                self.boot_id(),
            )
        });
        if let Ok(true) = inserted {
            return Ok(Some((record, provisioned.stack, lock)));
        }
        inserted.map(|_| None)
    }

    /// Every environment, oldest first.
    pub fn environments(&self) -> Result<Vec<Environment>> {
        let records = table::all(self.store().database())?;
        Ok(records
            .into_iter()
            .map(|record| Environment::new(self.clone(), record.id, Lifetime::Detached))
            .collect())
    }

    /// The records of every environment, oldest first.
    pub fn records(&self) -> Result<Vec<Record>> {
        table::all(self.store().database())
    }

    /// What the environments that meet a selector are doing now, oldest first.
    pub fn statuses(&self, selector: &Selector) -> Result<Vec<Status>> {
        let records = self.select(selector)?;
        let mut ports = self
            .store()
            .database()
            .read(ports::table::of_environments)?;
        records
            .into_iter()
            .map(|record| {
                let ports = ports.remove(&record.id).unwrap_or_default();
                self.status_of(record, ports)
            })
            .collect()
    }

    /// The environment of a name or id.
    pub fn find(&self, label: &str) -> Result<Environment> {
        let record = table::by_label(self.store().database(), label)?
            .ok_or_else(|| self.no(&[Thing::Environment], label))?;
        Ok(Environment::new(
            self.clone(),
            record.id,
            Lifetime::Detached,
        ))
    }

    /// What each engine can do on this machine, by its name.
    pub fn capabilities(&self) -> BTreeMap<&'static str, Capability> {
        let engines = self.engines();
        engines
            .map(|engine| (engine.name(), engine.capability()))
            .collect()
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The calling process, as it was passed in.
    pub fn host(&self) -> &HostEnv {
        &self.inner.host
    }

    /// What opening put right, until somebody asks.
    pub(crate) fn opening(&self) -> &Mutex<Recovery> {
        &self.inner.recovered
    }

    pub(crate) fn room(&self) -> &Room {
        &self.inner.room
    }

    pub(crate) fn housekeeping(&self) -> &Housekeeping {
        &self.inner.housekeeping
    }

    /// The calling process among all others.
    pub(crate) fn identity(&self) -> &ProcessIdentity {
        &self.inner.identity
    }

    pub(crate) fn provisioner(&self) -> &Provisioner {
        &self.provisioner
    }

    pub(crate) fn engine(&self, name: &str) -> Result<Arc<dyn Engine>> {
        self.inner.engines.get(name).cloned().ok_or_else(|| {
            let known: Vec<_> = self
                .inner
                .engines
                .keys()
                .map(|name| format!("`{name}`"))
                .collect();
            Error::new(
                ErrorKind::InvalidInput,
                format!("there is no engine `{}`", name.escape_debug()),
            )
            .with_hint(format!("there is {}", known.join(", ")))
        })
    }

    pub(crate) fn engines(&self) -> impl Iterator<Item = &Arc<dyn Engine>> {
        self.inner.engines.values()
    }

    /// Every instance of every engine, known to the database or not.
    pub(crate) fn instances(&self) -> Result<BTreeSet<EnvironmentId>> {
        let mut all = BTreeSet::new();
        for engine in self.engines() {
            all.extend(self.block_on(engine.instances())?);
        }
        Ok(all)
    }

    /// Engines never wait for the runtime's drivers, only for the kernel or for
    /// each other, so that a runtime of one thread serves any number of callers.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.inner.runtime.block_on(future)
    }

    pub(crate) fn lock(&self, record: &Record) -> Result<Lock> {
        self.provisioner.in_time(|| {
            self.locks().acquire(
                record.id.as_str(),
                self.provisioner.patience(self.inner.patience),
                &format!("environment `{}`", record.label()),
            )
        })
    }

    pub(crate) fn locks(&self) -> &Locks {
        &self.inner.locks
    }

    /// The kernel's id of this boot.
    pub(crate) fn boot_id(&self) -> &str {
        &self.inner.identity.boot_id
    }

    /// The ports that are leased to who names none.
    pub(crate) fn usual_ports(&self) -> &Spans {
        self.inner.usual_ports.get_or_init(Spans::usual)
    }

    /// What the engine is told of a record: commands see its ports as variables, unless those are set otherwise.
    pub(crate) fn instance(&self, record: &Record) -> Result<Instance> {
        let mut instance = instance_on(record, self.store().stack(&record.stack)?);
        for lease in self.ports_of(&record.id)? {
            if let Some(name) = lease.name {
                let variables = &mut instance.settings.variables;
                let value = || lease.port.to_string();
                variables.entry(name.variable()).or_insert_with(value);
            }
        }
        Ok(instance)
    }

    /// The record brought to the truth, and what the environment uses.
    pub(crate) fn status_of(&self, mut record: Record, ports: Vec<PortLease>) -> Result<Status> {
        // The record may lag behind an init that was killed; who next works on
        // the environment will settle it.
        if record.state == State::Active && !self.is_active(&record)? {
            record.state = record.state.next(Transition::Deactivated)?;
        }
        let usage = match record.state {
            State::Active => {
                let engine = self.engine(&record.engine)?;
                match self.block_on(engine.usage(&record.id)) {
                    // It ended in the moment between.
                    Err(error) if error.kind() == ErrorKind::IllegalState => {
                        record.state = record.state.next(Transition::Deactivated)?;
                        Usage::default()
                    }
                    usage => usage?,
                }
            }
            _ => Usage::default(),
        };
        let path = self.view_path(&record);
        Ok(Status {
            record,
            usage,
            path,
            ports,
        })
    }

    pub(crate) fn is_active(&self, record: &Record) -> Result<bool> {
        let engine = self.engine(&record.engine)?;
        self.block_on(engine.is_active(&record.id))
    }

    /// Records a step in the life of an environment that has happened, or is about to.
    pub(crate) fn step(
        &self,
        record: &Record,
        event: &Event,
        change: Change<'_>,
    ) -> Result<Record> {
        let transition = event.transition().ok_or_else(|| {
            let message = format!("`{}` changes no state", event.kind());
            Error::new(ErrorKind::Unexpected, message)
        })?;
        let state = record.state.next(transition)?;
        let change = Change {
            state: Some(state),
            ..change
        };
        let database = self.store().database();
        let changed = table::change(database, record, &change, event, self.room())?;
        if !changed {
            // Only possible when somebody changed the row without its lock.
            return Err(Error::new(
                ErrorKind::Unexpected,
                format!(
                    "environment `{}` was changed by somebody else",
                    record.label()
                ),
            ));
        }
        debug!(environment = %record.id, from = %record.state, to = %state, "changed its state");
        Ok(Record {
            state,
            ..record.clone()
        })
    }
}

pub(crate) fn instance_on(record: &Record, stack: Stack) -> Instance {
    Instance {
        id: record.id.clone(),
        stack,
        cache: Some(record.recipe.clone()),
        settings: Settings::clone(&record.settings),
        interpreter: record.python.roots.clone(),
        owner: record.owner.clone(),
        generation: record.generation,
        ends_at: record.ends_at(),
    }
}
