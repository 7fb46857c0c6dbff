/* schema.c: the tables, and what later versions added to earlier ones. Times are Unix seconds; documents are kept exactly as they were
 * signed. */
#include "server/schema.h"

#include <assert.h>

const char schema_text_1[] =
    /* Counts every change that a device's state document can show; becomes its serial. */
    "CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;"
    "INSERT INTO counters VALUES('revision', 1);"

    "CREATE TABLE accounts(name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL,"
    " active INTEGER NOT NULL, must_change INTEGER NOT NULL, created INTEGER NOT NULL) STRICT;"
    /* Sessions and API tokens: only the SHA-256 of the secret is kept. */
    "CREATE TABLE sessions(hash BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, account TEXT NOT NULL"
    " REFERENCES accounts(name) ON DELETE CASCADE, label TEXT NOT NULL, created INTEGER NOT NULL,"
    " expires INTEGER NOT NULL) STRICT;"

    "CREATE TABLE users(name TEXT PRIMARY KEY, full_name TEXT NOT NULL, mail TEXT NOT NULL) STRICT;"
    "CREATE TABLE groups(name TEXT PRIMARY KEY, description TEXT NOT NULL) STRICT;"
    "CREATE TABLE members(group_name TEXT NOT NULL REFERENCES groups(name) ON DELETE CASCADE,"
    " user_name TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE,"
    " PRIMARY KEY(group_name, user_name)) STRICT;"

    "CREATE TABLE devices(id TEXT PRIMARY KEY, name TEXT NOT NULL,"
    " user TEXT REFERENCES users(name) ON DELETE SET NULL, ring TEXT NOT NULL, status TEXT NOT "
    "NULL,"
    " enrolled INTEGER NOT NULL, tpm TEXT NOT NULL, hardware TEXT NOT NULL,"
    " certificate TEXT NOT NULL, certificate_hash BLOB NOT NULL UNIQUE, previous_hash BLOB,"
    " certificate_expires INTEGER NOT NULL, last_seen INTEGER NOT NULL, report TEXT NOT NULL,"
    " lease_serial INTEGER NOT NULL, lease_held INTEGER NOT NULL, lease TEXT,"
    " sequence INTEGER NOT NULL, seen_sequence INTEGER NOT NULL, seen_hash TEXT NOT NULL) STRICT;"
    "CREATE INDEX devices_previous ON devices(previous_hash);"
    "CREATE INDEX devices_user ON devices(user);"
    "CREATE TABLE enrolment_tokens(id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, group_name TEXT,"
    " user_name TEXT, uses_left INTEGER NOT NULL, expires INTEGER NOT NULL, approval INTEGER NOT "
    "NULL,"
    " created_by TEXT NOT NULL, created INTEGER NOT NULL) STRICT;"
    "CREATE TABLE enrolments(id TEXT PRIMARY KEY, token TEXT NOT NULL, csr_hash BLOB NOT NULL,"
    " csr TEXT NOT NULL, name TEXT NOT NULL, tpm TEXT NOT NULL, hardware TEXT NOT NULL,"
    " state TEXT NOT NULL, device TEXT, created INTEGER NOT NULL, UNIQUE(token, csr_hash)) STRICT;"

    "CREATE TABLE images(name TEXT PRIMARY KEY, description TEXT NOT NULL, created INTEGER NOT "
    "NULL,"
    " catalogue INTEGER NOT NULL, envelope TEXT, key BLOB) STRICT;"
    "CREATE TABLE versions(image TEXT NOT NULL REFERENCES images(name) ON DELETE CASCADE,"
    " release INTEGER NOT NULL, name TEXT NOT NULL, stage TEXT NOT NULL, manifest TEXT NOT NULL,"
    " manifest_bytes INTEGER NOT NULL, created INTEGER NOT NULL, PRIMARY KEY(image, release)) "
    "STRICT;"
    "CREATE TABLE assignments(id INTEGER PRIMARY KEY, image TEXT NOT NULL REFERENCES images(name),"
    " group_name TEXT REFERENCES groups(name) ON DELETE CASCADE,"
    " user_name TEXT REFERENCES users(name) ON DELETE CASCADE,"
    " device TEXT REFERENCES devices(id) ON DELETE CASCADE, release INTEGER NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX assignments_once ON assignments(image, ifnull(group_name, ''),"
    " ifnull(user_name, ''), ifnull(device, ''));"

    "CREATE TABLE roles(version INTEGER PRIMARY KEY, envelope TEXT NOT NULL) STRICT;"
    "CREATE TABLE policies(version INTEGER PRIMARY KEY, envelope TEXT NOT NULL) STRICT;"

    "CREATE TABLE commands(device TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,"
    " sequence INTEGER NOT NULL, kind TEXT NOT NULL, guest TEXT, release INTEGER, issued INTEGER "
    "NOT NULL,"
    " state TEXT NOT NULL, envelope TEXT, detail TEXT NOT NULL, receipt TEXT, created_by TEXT NOT "
    "NULL,"
    " PRIMARY KEY(device, sequence)) STRICT;"

    /* User disks outlive devices and users: what is restored is what was kept. */
    "CREATE TABLE disks(disk TEXT PRIMARY KEY, user TEXT NOT NULL, epoch INTEGER NOT NULL,"
    " writer TEXT NOT NULL, newest INTEGER NOT NULL, last INTEGER NOT NULL) STRICT;"
    "CREATE TABLE backups(disk TEXT NOT NULL REFERENCES disks(disk), number INTEGER NOT NULL,"
    " epoch INTEGER NOT NULL, branch TEXT NOT NULL, label TEXT NOT NULL, device TEXT NOT NULL,"
    " created INTEGER NOT NULL, parent INTEGER NOT NULL, manifest BLOB NOT NULL, packs TEXT NOT "
    "NULL,"
    " PRIMARY KEY(disk, number)) STRICT;"
    "CREATE TABLE sealed_keys(disk TEXT NOT NULL REFERENCES disks(disk), version INTEGER NOT NULL,"
    " kind TEXT NOT NULL, data TEXT NOT NULL, created INTEGER NOT NULL,"
    " PRIMARY KEY(disk, version, kind)) STRICT;"

    "CREATE TABLE audit(sequence INTEGER PRIMARY KEY, hash BLOB NOT NULL, entry TEXT NOT NULL) "
    "STRICT;";

const char *const schema_additions[] = {
    /* 2: boot traces */
    "CREATE TABLE traces(image TEXT NOT NULL, release INTEGER NOT NULL, trace TEXT NOT NULL,"
    " PRIMARY KEY(image, release),"
    " FOREIGN KEY(image, release) REFERENCES versions(image, release) ON DELETE CASCADE) STRICT;",
    /* 3: images that users may take by themselves; no group: everybody */
    "CREATE TABLE offers(image TEXT NOT NULL REFERENCES images(name) ON DELETE CASCADE,"
    " group_name TEXT REFERENCES groups(name) ON DELETE CASCADE) STRICT;"
    "CREATE UNIQUE INDEX offers_once ON offers(image, ifnull(group_name, ''));",
    /* 4: what a user took stands beside what administrators assign, and ends alone */
    "ALTER TABLE assignments ADD COLUMN taken INTEGER NOT NULL DEFAULT 0;"
    "DROP INDEX assignments_once;"
    "CREATE UNIQUE INDEX assignments_once ON assignments(image, ifnull(group_name, ''),"
    " ifnull(user_name, ''), ifnull(device, ''), taken);",
    /* 5: what a revert pins stands beside what administrators assign, and ends alone */
    "CREATE TABLE pins(device TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,"
    " image TEXT NOT NULL REFERENCES images(name) ON DELETE CASCADE, release INTEGER NOT NULL,"
    " PRIMARY KEY(device, image)) STRICT;"};

static_assert(sizeof(schema_additions) / sizeof(schema_additions[0]) == SCHEMA_VERSION - 1,
	      "every version adds one text");
