/* schema.h: the tables, for the SQLite driver. */
#ifndef SERVER_SCHEMA_H
#define SERVER_SCHEMA_H

#define SCHEMA_VERSION 5

/** The tables of version 1, and what makes each version after it of the one before. */
extern const char schema_text_1[];
extern const char *const schema_additions[SCHEMA_VERSION - 1];

#endif
