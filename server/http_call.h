/* http_call.h: libmicrohttpd's callbacks; see http.h. */
#ifndef SERVER_HTTP_CALL_H
#define SERVER_HTTP_CALL_H

#include <microhttpd.h>

/** Handles calls on the TLS listener. */
enum MHD_Result http_call_handle(void *context, struct MHD_Connection *connection, const char *url,
				 const char *method, const char *version, const char *upload,
				 size_t *upload_bytes, void **state);

/** Handles calls on the plain listener: packs and nothing else. */
enum MHD_Result http_call_handle_packs(void *context, struct MHD_Connection *connection,
				       const char *url, const char *method, const char *version,
				       const char *upload, size_t *upload_bytes, void **state);

/** Frees what a call held. */
void http_call_completed(void *context, struct MHD_Connection *connection, void **state,
			 enum MHD_RequestTerminationCode code);

/** Prepares a connection's TLS and frees what was learnt about its peer. */
void http_call_connection(void *context, struct MHD_Connection *connection, void **peer,
			  enum MHD_ConnectionNotificationCode code);

#endif
