/* journal.h: the server's audit log: the chain of trust/audit.h, kept in the storage. */
#ifndef SERVER_JOURNAL_H
#define SERVER_JOURNAL_H

#include "server/request.h"

/** Appends what @request did, with its result, to the running transaction. Returns 0 or a negative
 * errno. */
int journal_append(struct request *request, const char *result);

/** Appends something the server itself did. */
int journal_append_own(struct storage *storage, int64_t now, const char *action, const char *object,
		       const char *detail);

/** Writes the signed head of the log. Returns 0 or a negative errno. */
int journal_head(struct request *request, char text[AUDIT_HEAD_TEXT_MAX]);

/** Adds Bulkhead-Audit-Head to the answer. */
void journal_head_header(struct request *request);

#endif
