/* schema.h: the tables, for the SQLite driver. */
#ifndef SERVER_SCHEMA_H
#define SERVER_SCHEMA_H

extern const char schema_text[];

#endif
