//! Which layers and recipes are of use, and which are not.
//!
//! Only reads and forgets rows. What becomes of the trees is the store's business.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use ptest_store::rusqlite::Connection;
use ptest_store::{Layer, LayerId, Stack, StackId};

use crate::environment::table;
use crate::error::{Error, ErrorKind, Result};
use crate::improve;
use crate::timestamp::Timestamp;

/// What keeps a stack for as long as it is there: queries for the ids of stacks, as text. Who
/// keeps stacks in a table of their own adds a line.
const ROOTS: &[&str] = &[
    "SELECT stack FROM environments",
    "SELECT stack FROM snapshots",
];

/// Whose recipes stay, so that what is made of them has the caches that go with these.
const USERS: &[&str] = &[
    "SELECT recipe FROM environments",
    "SELECT recipe FROM snapshots",
];

const SECOND: Duration = Duration::from_secs(1);

/// What is to be left, apart from what is in use.
#[derive(Debug)]
pub(super) struct Wanted {
    /// When it was asked for.
    pub(super) now: Timestamp,
    /// What was used later than this.
    pub(super) used_after: Timestamp,
    /// What was used since then, whatever else is said.
    pub(super) leased_since: Option<Timestamp>,
    /// At most this many bytes of layers.
    pub(super) layer_bytes: Option<u64>,
}

impl Wanted {
    /// Whether the last use was long enough ago. One in the future counts as now: the clock was put
    /// back, and it would never grow old.
    fn is_old(&self, used_at: Timestamp) -> bool {
        used_at.min(self.now) <= self.used_after
    }
}

/// What is to go.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) layers: Vec<Layer>,
    pub(super) recipes: Vec<String>,
    /// Stacks that lose a layer, or that nothing refers to once the recipes are gone.
    stacks: Vec<StackId>,
    /// The recipes that stay, and those of environments and snapshots.
    pub(super) kept_recipes: BTreeSet<String>,
}

struct Recipe {
    key: String,
    stack: StackId,
    used_at: Timestamp,
}

/// Decides what goes.
pub(super) fn select(
    connection: &Connection,
    layers: Vec<Layer>,
    wanted: &Wanted,
) -> Result<Selection> {
    let stacks: HashMap<StackId, Stack> = Stack::all(connection)?.into_iter().collect();
    let recipes = recipes(connection)?;
    let roots = roots(connection)?;
    let shown = Shown::read(connection, stacks)?;
    let stacks = &shown.stacks;
    let in_use: HashSet<LayerId> = shown
        .layers_of(&roots)
        .chain(table::layers_on_the_way(connection)?)
        .collect();

    let mut last_used: HashMap<LayerId, Timestamp> = layers
        .iter()
        .map(|layer| (layer.id, seconds(layer.used_at)))
        .collect();
    for recipe in &recipes {
        for layer in shown.layers_of([&recipe.stack]) {
            if let Some(last) = last_used.get_mut(&layer) {
                *last = (*last).max(recipe.used_at);
            }
        }
    }
    for (layer, companions) in &shown.companions {
        let used = last_used.get(layer).copied();
        for companion in companions {
            if let (Some(used), Some(last)) = (used, last_used.get_mut(companion)) {
                *last = (*last).max(used);
            }
        }
    }
    let last = |layer: &Layer| last_used.get(&layer.id).copied();
    // Layers' times are whole seconds: one may have been used later in its second.
    let is_leased = |at: Timestamp| {
        let since = wanted.leased_since.map(|since| since.before(SECOND));
        since.is_some_and(|since| at >= since)
    };

    let mut free: Vec<Layer> = layers
        .iter()
        .filter(|layer| !in_use.contains(&layer.id) && !last(layer).is_some_and(is_leased))
        .copied()
        .collect();
    // Those that go first stand last.
    free.sort_by_key(|layer| Reverse(last(layer)));
    let mut bytes: u64 = layers.iter().map(|layer| layer.bytes).sum();
    let mut going = Vec::new();
    while let Some(layer) = free.pop() {
        let is_old = last(&layer).is_none_or(|at| wanted.is_old(at));
        let is_too_much = wanted.layer_bytes.is_some_and(|most| bytes > most);
        // The ones before it are younger, and what there is has room.
        if !is_old && !is_too_much {
            break;
        }
        bytes -= layer.bytes;
        going.push(layer);
    }
    let gone: HashSet<LayerId> = going.iter().map(|layer| layer.id).collect();
    let mut used = recipes_in_use(connection)?;
    let is_broken = |stack: &StackId| {
        let found = stacks.get(stack);
        found.is_none_or(|stack| stack.layers().iter().any(|layer| gone.contains(layer)))
    };
    let (forgotten, kept): (Vec<Recipe>, Vec<Recipe>) = recipes.into_iter().partition(|recipe| {
        let is_old = wanted.is_old(recipe.used_at) && !is_leased(recipe.used_at);
        is_broken(&recipe.stack) || (is_old && !used.contains(&recipe.key))
    });
    let referred: HashSet<StackId> = roots
        .into_iter()
        .chain(kept.iter().map(|recipe| recipe.stack))
        .collect();
    used.extend(kept.into_iter().map(|recipe| recipe.key));
    // Without a row that refers to it yet, a stack may be somebody's who holds a lease.
    let is_forgotten = |stack: &StackId| {
        is_broken(stack) || (wanted.leased_since.is_none() && !referred.contains(stack))
    };
    Ok(Selection {
        layers: going,
        recipes: forgotten.into_iter().map(|recipe| recipe.key).collect(),
        stacks: stacks
            .keys()
            .filter(|id| is_forgotten(id))
            .copied()
            .collect(),
        kept_recipes: used,
    })
}

/// Forgets everything but the layers.
pub(super) fn forget(transaction: &Connection, selection: &Selection) -> Result<()> {
    let mut delete = transaction.prepare_cached("DELETE FROM recipes WHERE key = ?1")?;
    for key in &selection.recipes {
        delete.execute([key])?;
    }
    let mut delete = transaction.prepare_cached("DELETE FROM pins WHERE stack = ?1")?;
    for stack in &selection.stacks {
        Stack::forget(transaction, stack)?;
        delete.execute([stack.to_string()])?;
    }
    let gone: HashSet<String> = selection
        .layers
        .iter()
        .map(|layer| layer.id.to_string())
        .collect();
    let mut delete = transaction.prepare_cached("DELETE FROM known_layers WHERE key = ?1")?;
    for key in known_as(transaction, &gone)? {
        delete.execute([key])?;
    }
    let layers: Vec<LayerId> = selection.layers.iter().map(|layer| layer.id).collect();
    improve::table::forget(transaction, &layers, &selection.stacks)?;
    Ok(())
}

/// The keys under which these layers are known.
fn known_as(connection: &Connection, layers: &HashSet<String>) -> Result<Vec<String>> {
    let mut select = connection.prepare_cached("SELECT key, layer FROM known_layers")?;
    let mut rows = select.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        if layers.contains(&row.get::<_, String>(1)?) {
            keys.push(row.get(0)?);
        }
    }
    Ok(keys)
}

fn recipes(connection: &Connection) -> Result<Vec<Recipe>> {
    let mut select = connection.prepare_cached("SELECT key, stack, used_at FROM recipes")?;
    let mut rows = select.query([])?;
    let mut recipes = Vec::new();
    while let Some(row) = rows.next()? {
        recipes.push(Recipe {
            key: row.get(0)?,
            stack: stack_id(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?,
            used_at: Timestamp::from_millisecond(row.get(2)?),
        });
    }
    Ok(recipes)
}

fn recipes_in_use(connection: &Connection) -> Result<BTreeSet<String>> {
    let mut recipes = BTreeSet::new();
    for query in USERS {
        let mut select = connection.prepare_cached(query)?;
        for recipe in select.query_map([], |row| row.get(0))? {
            recipes.insert(recipe?);
        }
    }
    Ok(recipes)
}

fn roots(connection: &Connection) -> Result<HashSet<StackId>> {
    let mut roots = HashSet::new();
    for query in ROOTS {
        let mut select = connection.prepare_cached(query)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            roots.insert(stack_id(
                row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?,
            )?);
        }
    }
    Ok(roots)
}

fn stack_id(text: &str) -> Result<StackId> {
    text.parse().map_err(|source| {
        let what = format!("`{}` in the database is not a stack", text.escape_debug());
        Error::new(ErrorKind::Corrupt, what).with_source(source)
    })
}

fn seconds(since_1970: i64) -> Timestamp {
    Timestamp::from_millisecond(since_1970.saturating_mul(1000))
}

/// What stacks are mounted of.
struct Shown {
    stacks: HashMap<StackId, Stack>,
    /// What those that are not served by their own layers are served by.
    serving: HashMap<StackId, Stack>,
    /// The bytecode of layers, for each interpreter.
    companions: HashMap<LayerId, Vec<LayerId>>,
}

impl Shown {
    fn read(connection: &Connection, stacks: HashMap<StackId, Stack>) -> Result<Self> {
        let mut companions: HashMap<LayerId, Vec<LayerId>> = HashMap::new();
        for (layer, companion) in improve::table::companions(connection)? {
            companions.entry(layer).or_default().push(companion);
        }
        Ok(Self {
            stacks,
            serving: Stack::all_serving(connection)?.into_iter().collect(),
            companions,
        })
    }

    /// The layers of these stacks, those that they are served by, and the companions of all.
    fn layers_of<'a>(
        &'a self,
        ids: impl IntoIterator<Item = &'a StackId>,
    ) -> impl Iterator<Item = LayerId> {
        ids.into_iter()
            .flat_map(|id| [self.stacks.get(id), self.serving.get(id)])
            .flatten()
            .flat_map(Stack::layers)
            .flat_map(|layer| {
                let companions = self.companions.get(layer);
                std::iter::once(layer).chain(companions.into_iter().flatten())
            })
            .copied()
    }
}
