//! Each metric of the sidecar, and the test that sees it move.

use std::collections::BTreeSet;

use tests::binaries::workspace;

use crate::common::{new_session, pair};

const MOVED: &[(&str, &str)] = &[
    ("api_requests", "metrics_count_sessions_requests_and_redis"),
    ("hyperpage_bus_deaf", "who_hears_nothing_is_soon_unready_and_learns_of_everything_all_the_same"),
    (
        "hyperpage_bus_delivery_seconds",
        "a_message_is_heard_by_all_pods_in_one_order_and_a_targeted_one_by_its_pod",
    ),
    ("hyperpage_bus_gaps", "what_nobody_can_find_any_more_is_reported_as_a_gap"),
    ("hyperpage_bus_messages", "a_message_is_heard_by_all_pods_in_one_order_and_a_targeted_one_by_its_pod"),
    ("hyperpage_bus_refused", "an_app_sends_so_many_messages_a_minute_and_the_next_is_refused_with_a_time"),
    ("hyperpage_bus_rejected", "garbage_on_every_channel_and_in_the_stream_is_counted_and_harms_nobody"),
    ("hyperpage_bus_resyncs", "a_wiped_redis_is_another_life_and_everybody_is_told"),
    (
        "hyperpage_bus_subscriptions",
        "a_message_is_heard_by_all_pods_in_one_order_and_a_targeted_one_by_its_pod",
    ),
    ("hyperpage_http_overloads", "more_requests_at_once_than_there_is_room_for_are_503_at_once"),
    // By a route of that test: no request is known that makes one of ours panic.
    ("hyperpage_http_panics", "a_handler_that_panics_is_counted_and_answered_500"),
    ("hyperpage_http_request_seconds", "metrics_count_sessions_requests_and_redis"),
    ("hyperpage_http_requests", "metrics_count_sessions_requests_and_redis"),
    ("hyperpage_http_streams", "streams_say_who_speaks_are_kept_alive_and_end_when_the_sidecar_does"),
    ("hyperpage_leader_elections", "metrics_count_elections_renewals_and_strangers_at_the_mirror"),
    ("hyperpage_leader_foreign_mirrors", "metrics_count_elections_renewals_and_strangers_at_the_mirror"),
    ("hyperpage_leader_is_leader", "metrics_count_elections_renewals_and_strangers_at_the_mirror"),
    ("hyperpage_leader_renewals_failed", "metrics_count_elections_renewals_and_strangers_at_the_mirror"),
    ("hyperpage_leader_term", "metrics_count_elections_renewals_and_strangers_at_the_mirror"),
    (
        "hyperpage_pods_beats_failed",
        "in_an_outage_the_list_is_told_as_it_was_and_marked_and_a_wiped_redis_is_told_anew",
    ),
    ("hyperpage_pods_changes", "metrics_count_pods_and_those_who_come_and_go"),
    ("hyperpage_pods_known", "metrics_count_pods_and_those_who_come_and_go"),
    ("hyperpage_redis_call_seconds", "metrics_count_sessions_requests_and_redis"),
    ("hyperpage_redis_canary_failures", "a_proxy_that_swallows_what_redis_says_is_noticed_by_the_canary"),
    ("hyperpage_redis_coherent", "a_session_is_served_from_memory_and_own_writes_are_seen_at_once"),
    ("hyperpage_redis_confirmed", "strong_with_a_paused_replica_is_202_and_not_an_error_and_not_a_lie"),
    ("hyperpage_redis_connections", "a_proxy_that_swallows_what_redis_says_is_noticed_by_the_canary"),
    ("hyperpage_redis_dials", "metrics_count_sessions_requests_and_redis"),
    ("hyperpage_redis_errors", "metrics_count_sessions_requests_and_redis"),
    ("hyperpage_redis_evicting", "absence_is_unproven_while_redis_evicts"),
    ("hyperpage_redis_evicts", "one_node_that_evicts_is_named_and_counted"),
    ("hyperpage_redis_flushes", "nothing_that_was_flushed_is_served_unless_it_is_given_back"),
    (
        "hyperpage_redis_incarnations",
        "every_sidecar_holds_the_one_record_and_a_broken_connection_changes_nothing",
    ),
    (
        "hyperpage_redis_invalidations",
        "another_sidecars_write_a_strangers_and_a_strangers_delete_are_seen_within_the_bound",
    ),
    ("hyperpage_redis_leases_lost", "nothing_is_served_beyond_the_bound_on_a_dead_connection"),
    ("hyperpage_redis_losses", "a_flush_by_a_stranger_logs_nobody_out_within_the_window"),
    ("hyperpage_redis_unconfirmed", "strong_with_a_paused_replica_is_202_and_not_an_error_and_not_a_lie"),
    ("hyperpage_session_seconds", "metrics_count_sessions_requests_and_redis"),
    ("rate_limit_hits", "one_address_makes_no_more_sessions_per_minute_than_the_limit"),
    ("sessions_active", "the_active_sessions_are_known_although_nobody_asks"),
    ("sessions_bound_seconds", "a_session_is_served_from_memory_and_own_writes_are_seen_at_once"),
    ("sessions_combined", "metrics_count_combined_writes_exactly"),
    ("sessions_conflicts", "metrics_count_writes_over_other_bytes_and_attempts_whose_answer_is_lost"),
    ("sessions_created", "metrics_count_sessions_requests_and_redis"),
    ("sessions_deleted", "metrics_count_sessions_requests_and_redis"),
    ("sessions_endless", "a_sweep_clears_indexes_and_touches_no_session"),
    ("sessions_errors", "metrics_count_sessions_requests_and_redis"),
    ("sessions_expired", "metrics_count_sessions_that_expire"),
    ("sessions_filled", "who_reads_at_once_shares_one_read_and_no_cache_reads_for_itself"),
    ("sessions_forked", "a_history_that_forked_is_merged_where_it_can_be_and_counted"),
    ("sessions_indexed", "signed_out_everywhere_means_foreign_and_unindexed_sessions_too"),
    ("sessions_journal_age_seconds", "metrics_count_what_waits_in_an_outage_and_what_becomes_of_it"),
    ("sessions_journal_bytes", "metrics_count_what_waits_in_an_outage_and_what_becomes_of_it"),
    ("sessions_journal_depth", "metrics_count_what_waits_in_an_outage_and_what_becomes_of_it"),
    ("sessions_journal_dropped", "metrics_count_what_waits_in_an_outage_and_what_becomes_of_it"),
    ("sessions_journal_overflows", "a_full_journal_refuses_and_says_so_and_old_changes_leave_it"),
    ("sessions_journal_replayed", "metrics_count_what_waits_in_an_outage_and_what_becomes_of_it"),
    ("sessions_journaled", "metrics_count_what_waits_in_an_outage_and_what_becomes_of_it"),
    ("sessions_l1_bytes", "a_session_is_served_from_memory_and_own_writes_are_seen_at_once"),
    ("sessions_l1_entries", "a_session_is_served_from_memory_and_own_writes_are_seen_at_once"),
    ("sessions_l1_evictions", "a_hundred_thousand_sessions_do_not_exceed_the_budget"),
    ("sessions_outage_state", "metrics_count_what_waits_in_an_outage_and_what_becomes_of_it"),
    ("sessions_replayed", "a_key_is_replayed_across_pods_with_what_became_of_the_first_request"),
    ("sessions_resent", "metrics_count_writes_over_other_bytes_and_attempts_whose_answer_is_lost"),
    ("sessions_reseed", "a_redis_that_has_lost_all_is_given_back_what_living_pods_hold"),
    ("sessions_reseed_restored", "a_redis_that_has_lost_all_is_given_back_what_living_pods_hold"),
    ("sessions_ring_forgotten", "metrics_count_acknowledged_writes_that_are_kept_for_nobody"),
    ("sessions_ring_restored", "a_failover_that_loses_the_last_write_is_told_it_again"),
    ("sessions_signed_out", "signed_out_everywhere_means_foreign_and_unindexed_sessions_too"),
    ("sessions_stale_reads", "a_known_session_is_told_in_an_outage_and_marked_as_stale"),
    ("sessions_swept", "a_sweep_clears_indexes_and_touches_no_session"),
    ("sessions_touched", "metrics_count_sessions_requests_and_redis"),
    ("sessions_turned_away", "metrics_count_writers_for_whom_the_queue_is_full"),
    ("sessions_unindexed", "a_user_is_named_in_the_index_before_the_document_says_so"),
    ("sessions_unproven", "a_new_redis_proves_nothing_until_the_window_is_over"),
    ("sessions_updated", "metrics_count_sessions_requests_and_redis"),
];

#[tokio::test]
async fn every_metric_is_seen_moving() {
    let known: BTreeSet<&str> = MOVED.iter().map(|(name, _)| *name).collect();
    let (_redis, sidecar) = pair().await;
    new_session(&sidecar).await;
    sidecar.app.get("/v1/sessions/x").await.expect(404);
    let text = sidecar.admin.get("/metrics").await.expect(200).body;
    sidecar.stop().await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let unknown: Vec<_> = types.filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "no test is named that sees these move: {unknown:?}");

    // What has labels is not told before it has moved for the first time.
    let product = sources("sidecar/src");
    let mut names: Vec<&str> = product.iter().flat_map(|text| registered(text)).collect();
    let mut listed: Vec<&str> = known.iter().map(|name| unprefixed(name)).collect();
    names.sort_unstable();
    listed.sort_unstable();
    assert_eq!(names, listed);

    let sources = [product, sources("tests/sidecar")].concat();
    for (metric, test) in MOVED {
        let body = sources.iter().find_map(|text| body(text, test));
        let body = body.unwrap_or_else(|| panic!("there is no test {test}"));
        let name = metric.trim_start_matches("hyperpage_");
        assert!(body.contains(name), "{test} does not look at {metric}");
    }
}

/// The names that stand first among what a registry is given.
fn registered(text: &str) -> impl Iterator<Item = &str> {
    let calls = ["register(", "add("].into_iter().flat_map(|call| text.split(call).skip(1));
    calls.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
}

/// As it is registered.
fn unprefixed(metric: &str) -> &str {
    let prefixes =
        ["hyperpage_bus_", "hyperpage_redis_", "hyperpage_http_", "hyperpage_leader_", "hyperpage_pods_"];
    prefixes.iter().find_map(|prefix| metric.strip_prefix(prefix)).unwrap_or(metric)
}

/// What a test does, to the brace that is as far left as its beginning.
fn body<'a>(text: &'a str, test: &str) -> Option<&'a str> {
    let at = text.find(&format!("fn {test}("))?;
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let indent = text[line..].len() - text[line..].trim_start().len();
    let end = format!("\n{}}}", &text[line..line + indent]);
    let rest = &text[at..];
    Some(&rest[..rest.find(&end)?])
}

fn sources(folder: &str) -> Vec<String> {
    let mut folders = vec![workspace().join(folder)];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                sources.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    sources
}
