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

#[eddies_macros::test(virtual_time, workers = 2)]
async fn virtual_time_of_several_workers() {}

#[eddies_macros::test(virtual_time = true)]
async fn virtual_time_with_a_value() {}

#[eddies_macros::test(virtual_time, virtual_time)]
async fn virtual_time_twice() {}

#[eddies_macros::main(virtual_time)]
async fn virtual_time_in_main() {}

fn main() {}
