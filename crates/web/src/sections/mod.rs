//! One file a section of the navigation.

pub(crate) mod admins;
pub(crate) mod attachments;
mod delegates;
pub(crate) mod live;
mod messages;
mod overview;
mod people;
mod queue;
mod settings;
mod setup;

pub(crate) use live::WATCHERS;

use axum::Router;

use crate::Web;

/// All sections.
pub(crate) fn routes() -> Router<Web> {
    Router::new()
        .merge(overview::routes())
        .merge(live::routes())
        .merge(messages::routes())
        .merge(queue::routes())
        .merge(attachments::routes())
        .merge(delegates::routes())
        .merge(settings::routes())
        .merge(admins::routes())
        .merge(people::routes())
        .merge(setup::routes())
}
