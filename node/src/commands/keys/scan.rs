//! Going through the keyspace: SCAN, KEYS, RANDOMKEY.
//!
//! Each lane is held only while it is looked through, so what KEYS shows is not one instant of the whole node. Keys
//! that have expired are not shown; removing them is left to those who ask for them and to the sweep.

use super::cursor::{Cursor, RESTARTS_MAX};
use crate::commands::{Args, Ctx, Outcome};
use crate::glob::{self, Case};
use crate::resp::{Error, Reply};
use crate::store::object::Kind;
use crate::store::{Access, Entry, Lane, SlotTable};
use capstan_proto::env::UnixMs;
use capstan_proto::slot::{SLOTS, Slot};

/// COUNT when nothing is said.
const COUNT_DEFAULT: u64 = 10;
/// However large COUNT is, one call looks at about so many entries: less than a millisecond (DESIGN 12).
const COUNT_MAX: u64 = 8192;
/// A table of at most so many buckets is visited in one go.
const WHOLE_BUCKETS: usize = 128;
/// Slots and buckets that one call looks at, beside ten for each key of COUNT.
const LOOKS: u64 = 2048;

/// What SCAN was asked for.
struct Filter<'a> {
    pattern: Option<&'a [u8]>,
    /// What TYPE named.
    kind: Wanted,
    count: u64,
}

impl<'a> Filter<'a> {
    fn read(args: Args<'a>) -> Result<Self, Error> {
        let mut filter = Self { pattern: None, kind: Wanted::Any, count: COUNT_DEFAULT };
        for i in (2..args.len()).step_by(2) {
            if i + 1 == args.len() {
                return Err(Error::Syntax);
            } else if args.is(i, "COUNT") {
                filter.count = match args.int(i + 1)? {
                    count @ 1.. => (count as u64).min(COUNT_MAX),
                    _ => return Err(Error::Syntax),
                };
            } else if args.is(i, "MATCH") {
                filter.pattern = Some(args.at(i + 1)).filter(|pattern| *pattern != b"*");
            } else if args.is(i, "TYPE") {
                let named = Kind::ALL.into_iter().find(|kind| args.is(i + 1, kind.name()));
                filter.kind = named.map_or(Wanted::None, Wanted::Only);
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(filter)
    }
}

/// Keys of which types are shown.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// All.
    Any,
    /// One.
    Only(Kind),
    /// A type that no key has was asked for.
    None,
}

impl Wanted {
    fn admits(self, kind: Kind) -> bool {
        match self {
            Self::Any => true,
            Self::Only(wanted) => wanted == kind,
            Self::None => false,
        }
    }
}

/// What one call has seen and found so far.
struct Walk<'a> {
    filter: Filter<'a>,
    db: u8,
    now: UnixMs,
    seen: u64,
    looks: u64,
    found: u64,
    bulks: Reply,
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
pub(super) fn scan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let mut cursor = Cursor::parse(args.at(1)).ok_or_else(|| Error::err("invalid cursor"))?;
    let filter = Filter::read(args)?;
    let slots_per_lane = SLOTS / u16::try_from(ctx.core.lanes.count()).unwrap_or(1);
    let bulks = Reply::over(Vec::new(), ctx.out.resp());
    let (db, now) = (ctx.data.db(), ctx.now);
    let mut walk = Walk { filter, db, now, seen: 0, looks: 0, found: 0, bulks };
    while let Some(slot) = cursor.slot() {
        if walk.is_over() {
            break;
        }
        let lane = ctx.data.lane(slot);
        if lane.databases().get(usize::from(db)).is_none_or(|database| database.keys == 0) {
            // Nothing in the rest of this lane either.
            cursor = Cursor::at((cursor.place / slots_per_lane + 1) * slots_per_lane);
            walk.looks += 1;
            continue;
        }
        cursor = walk.visit(lane, slot, cursor);
    }
    ctx.out.array(2);
    ctx.out.bulk(itoa::Buffer::new().format(cursor.encode()).as_bytes());
    ctx.out.array(usize::try_from(walk.found).unwrap_or(usize::MAX));
    ctx.out.raw(walk.bulks.bytes());
    Ok(())
}

impl Walk<'_> {
    fn is_over(&self) -> bool {
        self.seen >= self.filter.count || self.looks >= LOOKS + 10 * self.filter.count
    }

    /// Looks at a slot from the cursor on; returns where to go on.
    fn visit(&mut self, lane: &Lane, slot: Slot, cursor: Cursor) -> Cursor {
        let next = Cursor::at(cursor.place + 1);
        self.looks += 1;
        if !readable(lane.slot(slot)) {
            return next;
        }
        let (table, tag) = (lane.slot(slot).table(), lane.layout_tag(slot));
        let moved = cursor.bucket != 0 && cursor.tag != tag;
        let restarts = if moved { (cursor.restarts + 1).min(RESTARTS_MAX) } else { cursor.restarts };
        let mut bucket = if moved { 0 } else { cursor.bucket as usize };
        let buckets = table.num_buckets();
        let whole = buckets <= WHOLE_BUCKETS || restarts == RESTARTS_MAX;
        while bucket < buckets {
            if !whole && self.is_over() {
                return Cursor { place: cursor.place, restarts, tag, bucket: bucket as u32 };
            }
            if let Some(entry) = table.get_bucket(bucket) {
                self.consider(entry);
            }
            self.looks += 1;
            bucket += 1;
        }
        next
    }

    fn consider(&mut self, entry: &Entry) {
        self.seen += 1;
        let wanted = self.filter.kind.admits(entry.kind())
            && shown(entry, self.db, self.now)
            && self.filter.pattern.is_none_or(|pattern| glob::matches(pattern, entry.key(), Case::Exact));
        if wanted {
            self.bulks.bulk(entry.key());
            self.found += 1;
        }
    }
}

/// `KEYS pattern`
pub(super) fn keys(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let pattern = args.at(1);
    let (db, now) = (ctx.data.db(), ctx.now);
    let (mut found, mut bulks) = (0, Reply::over(Vec::new(), ctx.out.resp()));
    ctx.data.each_lane(|lane| {
        for entry in entries(lane) {
            if shown(entry, db, now) && (pattern == b"*" || glob::matches(pattern, entry.key(), Case::Exact))
            {
                bulks.bulk(entry.key());
                found += 1;
            }
        }
    });
    ctx.out.array(found);
    ctx.out.raw(bulks.bytes());
    Ok(())
}

/// `RANDOMKEY`: a random place among all entries, then the next bucket that holds a key of this database.
pub(super) fn randomkey(ctx: &mut Ctx<'_>, _: Args<'_>) -> Outcome {
    let (db, now) = (ctx.data.db(), ctx.now);
    let mut keys_by_lane = Vec::with_capacity(ctx.core.lanes.count());
    ctx.data.each_lane(|lane| {
        keys_by_lane.push(lane.databases().get(usize::from(db)).map_or(0, |database| database.keys));
    });
    let total: u64 = keys_by_lane.iter().sum();
    let mut wanted = if total == 0 { 0 } else { ctx.core.env.random.u64() % total };
    let first = keys_by_lane.iter().position(|&keys| {
        let here = wanted < keys;
        wanted -= if here { 0 } else { keys };
        here
    });
    let start = ctx.core.env.random.u64();
    for number in (0..keys_by_lane.len()).map(|i| (first.unwrap_or(0) + i) % keys_by_lane.len()) {
        if keys_by_lane[number] == 0 {
            continue;
        }
        if let Some(key) = random_entry(ctx.data.lane_numbered(number), db, now, start) {
            ctx.out.bulk(key);
            return Ok(());
        }
    }
    ctx.out.null();
    Ok(())
}

/// A key of the lane, from a place among its entries on that a random number chooses.
fn random_entry(lane: &Lane, db: u8, now: UnixMs, random: u64) -> Option<&[u8]> {
    let total: usize = lane.slots().map(|(_, slot)| slot.len()).sum();
    let mut skip = usize::try_from(random % total.max(1) as u64).unwrap_or(0);
    let all: Vec<(Slot, &SlotTable)> = lane.slots().collect();
    let begin = all.iter().position(|(_, slot)| {
        let here = skip < slot.len();
        skip -= if here { 0 } else { slot.len() };
        here
    })?;
    // The first slot is entered at a random bucket, and its beginning comes last.
    let entered = (random >> 32) as usize;
    for i in 0..=all.len() {
        let (_, slot) = all[(begin + i) % all.len()];
        if !readable(slot) {
            continue;
        }
        let buckets = slot.table().num_buckets();
        let range = match i {
            0 => entered % buckets.max(1)..buckets,
            _ if i == all.len() => 0..entered % buckets.max(1),
            _ => 0..buckets,
        };
        let mut entries = range.filter_map(|bucket| slot.table().get_bucket(bucket));
        if let Some(entry) = entries.find(|entry| shown(entry, db, now)) {
            return Some(entry.key());
        }
    }
    None
}

/// The entries of the slots that this node has to do with.
fn entries(lane: &Lane) -> impl Iterator<Item = &Entry> {
    lane.slots().filter(|(_, slot)| readable(slot)).flat_map(|(_, slot)| slot.entries())
}

fn readable(slot: &SlotTable) -> bool {
    matches!(slot.access(), Access::Mine | Access::Replica)
}

fn shown(entry: &Entry, db: u8, now: UnixMs) -> bool {
    entry.db() == db && !Lane::has_expired(entry, now)
}
