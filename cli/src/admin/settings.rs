//! `capstan settings`: the settings of the cluster, shown with their defaults, or changed on every node at once.

use super::change::{self, Change};
use super::client;
use super::view::View;
use crate::args::{SettingsArgs, SettingsVerb};
use crate::output::{self, Ended};
use capstan_proto::rpc::v1;
use capstan_proto::settings::CLUSTER_SETTINGS;
use serde::Serialize;

#[derive(Serialize)]
struct Row {
    name: String,
    value: String,
    default: String,
    /// Whether somebody set it.
    set: bool,
    about: String,
}

pub(super) async fn run(args: SettingsArgs) -> Result<Ended, Ended> {
    let mut client = client(&args.ask)?;
    match args.verb {
        None => {
            let rows = rows(&View::now(&mut client).await?);
            if args.ask.json {
                output::json(&rows);
            } else {
                output::table(&["SETTING", "VALUE", "DEFAULT", "WHAT"], rows.into_iter().map(cells));
            }
            Ok(Ended::Well)
        }
        Some(SettingsVerb::Get { name }) => {
            let found = rows(&View::now(&mut client).await?).into_iter().find(|row| row.name == name);
            let row = found.ok_or_else(|| Ended::refused(format!("the cluster has no setting '{name}'")))?;
            if args.ask.json {
                output::json(&row);
            } else {
                output::line(&row.value);
            }
            Ok(Ended::Well)
        }
        Some(SettingsVerb::Set { name, value, request_id }) => {
            let verb = v1::verb::Verb::SetSetting(v1::Setting { name: name.clone(), value: value.clone() });
            let said = format!("{name} = {value}");
            change::propose(&mut client, Change { verb, request_id, said, json: args.ask.json }).await
        }
    }
}

/// Every setting of the cluster; those that only a later version knows come last, as they are stored.
fn rows(view: &View) -> Vec<Row> {
    let stored = &view.topology.settings;
    let mut all: Vec<Row> = CLUSTER_SETTINGS
        .iter()
        .map(|row| Row {
            name: row.name.to_owned(),
            value: stored.get(row.name).cloned().unwrap_or_else(|| row.default.to_owned()),
            default: row.default.to_owned(),
            set: stored.contains_key(row.name),
            about: row.about.to_owned(),
        })
        .collect();
    for (name, value) in stored {
        if !all.iter().any(|row| row.name == *name) {
            let (name, value) = (name.clone(), value.clone());
            all.push(Row { name, value, default: String::new(), set: true, about: String::new() });
        }
    }
    all
}

fn cells(row: Row) -> Vec<String> {
    vec![row.name, row.value, row.default, row.about]
}
