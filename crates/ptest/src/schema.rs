//! The library's own tables in the store's database, in the order they came.

/// Each step runs once; steps are only ever added at the end.
pub(crate) const MIGRATIONS: &[&str] = &[
    crate::environment::table::SCHEMA,
    crate::recipe::SCHEMA,
    crate::recipe::USES,
    crate::environment::table::GENERATIONS,
    crate::recipe::WRITTEN,
    crate::snapshot::table::SCHEMA,
    crate::improve::table::SCHEMA,
    crate::environment::table::HANDED_OVER,
    crate::events::table::SCHEMA,
    crate::ports::table::SCHEMA,
    crate::runs::table::SCHEMA,
    crate::labels::SCHEMA,
    crate::failure::SCHEMA,
    crate::mortal::SCHEMA,
    crate::refusals::SCHEMA,
    crate::apply::table::SCHEMA,
    crate::monitor::history::SCHEMA,
    crate::events::table::CAUSES,
    crate::hooks::table::SCHEMA,
];

#[cfg(test)]
mod tests;
