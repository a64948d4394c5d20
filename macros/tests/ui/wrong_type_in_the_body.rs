#[path = "../shared/stand_in.rs"]
mod stand_in;

#[eddies_macros::main(crate = "crate::stand_in")]
async fn port() -> u16 {
    "8080"
}

fn main() {
    port();
}
