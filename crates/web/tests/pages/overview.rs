//! The overview: numbers, graphs, and the part that is kept fresh.

use axum::http::StatusCode;
use vouchsafe_fakes::PipeDialer;

use crate::LISTENERS;
use crate::world::World;

#[tokio::test]
async fn the_overview_shows_graphs_for_each_span_and_a_part_to_refresh() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    world.happened(1, "refused", "client", "550 5.1.1 No such <b>user</b>");
    for span in ["hour", "day", "month"] {
        let page = world.get(&format!("/?span={span}")).await;
        assert!(page.contains(&format!("Nothing in this {span}.")), "{page}");
        // The minute that runs is told with the ones before.
        assert!(page.contains("no such recipient <strong>1</strong>"), "{page}");
        assert!(page.contains("relaying denied <strong>0</strong>"), "{page}");
        assert!(page.contains("No such &#60;b&#62;user") && !page.contains("<b>user"), "{page}");
        let part = world.get(&format!("/overview/now?span={span}")).await;
        assert!(part.contains("Refused or put off, by reason") && !part.contains("<html"));
    }
    let script = world.get("/page.js").await;
    assert!(script.contains("data-refresh") && !script.contains("innerHTML"));
}

#[tokio::test]
async fn a_part_is_not_given_to_who_has_no_session() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    assert_eq!(world.post("/logout", &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.try_get("/overview/now").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.try_get("/live/feed").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.try_get("/").await.status, StatusCode::SEE_OTHER);
}
