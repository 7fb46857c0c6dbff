/* audit_log.c: the audit log as it is read: entries exactly as they were chained, the signed head,
 * who witnessed it. */
#include "server/handlers.h"
#include "server/journal.h"

#include <errno.h>
#include <string.h>

int audit_log_list(struct request *request)
{
	json_t *rows;
	int status = storage_rows(
	    request->storage, QUERY_AUDIT_LIST,
	    STORAGE(SV_INT(request_after_number(request)), SV_INT(request_limit(request))), &rows);

	return status ? status : reply_page(request, rows, "sequence");
}

int audit_log_head(struct request *request)
{
	char text[AUDIT_HEAD_TEXT_MAX];
	int status = journal_head(request, text);

	return status ? status : reply_json(request, 200, json_pack("{s:s}", "head", text));
}

int audit_log_witnesses(struct request *request)
{
	const char *after = request_query(request, "after");
	json_t *rows;
	int status = storage_rows(
	    request->storage, QUERY_AUDIT_WITNESSES,
	    STORAGE(SV_TEXT(after ? after : ""), SV_INT(request_limit(request))), &rows);

	return status ? status : reply_page(request, rows, "device");
}
