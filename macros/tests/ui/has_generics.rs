#[eddies_macros::test]
async fn parses<T>() {}

#[eddies_macros::test]
async fn prints()
where
    String: std::fmt::Display,
{
}

fn main() {}
