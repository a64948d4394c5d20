#[eddies_macros::test(workers = 0)]
async fn no_workers() {}

#[eddies_macros::test(workers = "two")]
async fn workers_in_words() {}

#[eddies_macros::test(workers = 1, workers = 2)]
async fn workers_twice() {}

#[eddies_macros::test(flavor = "multi_thread")]
async fn unknown_argument() {}

#[eddies_macros::test(crate = "not a path")]
async fn crate_is_no_path() {}

fn main() {}
