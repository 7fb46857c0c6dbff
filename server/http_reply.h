/* http_reply.h: an answer on its way out: ETags, ranges, headers. See request.h. */
#ifndef SERVER_HTTP_REPLY_H
#define SERVER_HTTP_REPLY_H

#include "server/request.h"

#include <microhttpd.h>

/** Hands the reply to libmicrohttpd. */
enum MHD_Result http_reply_send(struct request *request);

/** The ETag that this reply would carry. */
void http_reply_etag(struct request *request, char etag[96]);

/** Frees the reply. */
void http_reply_release(struct request *request);

/** True if one of the ETags in a header's list is @etag. */
bool http_reply_matches(const char *header, const char *etag);

/**
 * Reads a Range header of one range over an object of @size_bytes.
 * Returns 1 and the range, 0 if the header is to be ignored (none, several, another unit), -ERANGE.
 */
int http_reply_range(const char *header, uint64_t size_bytes, uint64_t *first_byte,
		     uint64_t *byte_count);

#endif
