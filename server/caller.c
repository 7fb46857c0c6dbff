/*
 * caller.c: see caller.h. A device's certificate is looked up by its hash: the authority wrote
 * every one of them into the storage, the TLS handshake has proved possession of its key, so no
 * chain needs to be walked.
 */
#include "server/caller.h"
#include "server/limits.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

void caller_address(struct request *request)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	snprintf(request->address, sizeof(request->address), "unknown");
	if (!info || !info->client_addr)
		return;
	if (info->client_addr->sa_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)info->client_addr)->sin_addr,
			  request->address, sizeof(request->address));
	else if (info->client_addr->sa_family == AF_INET6)
		/* The first 64 bits: whoever has one address of a network has them all. */
		snprintf(request->address, sizeof(request->address),
			 "%02x%02x:%02x%02x:%02x%02x:%02x%02x",
			 ((struct sockaddr_in6 *)info->client_addr)->sin6_addr.s6_addr[0],
			 ((struct sockaddr_in6 *)info->client_addr)->sin6_addr.s6_addr[1],
			 ((struct sockaddr_in6 *)info->client_addr)->sin6_addr.s6_addr[2],
			 ((struct sockaddr_in6 *)info->client_addr)->sin6_addr.s6_addr[3],
			 ((struct sockaddr_in6 *)info->client_addr)->sin6_addr.s6_addr[4],
			 ((struct sockaddr_in6 *)info->client_addr)->sin6_addr.s6_addr[5],
			 ((struct sockaddr_in6 *)info->client_addr)->sin6_addr.s6_addr[6],
			 ((struct sockaddr_in6 *)info->client_addr)->sin6_addr.s6_addr[7]);
}

static void check_peer(struct MHD_Connection *connection, struct peer *peer)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	const gnutls_datum_t *chain;
	unsigned int count = 0;

	peer->is_checked = true;
	if (!info || !info->tls_session)
		return;
	chain = gnutls_certificate_get_peers(info->tls_session, &count);
	if (!chain || !count)
		return;
	crypto_hash_sha256(peer->certificate_hash, chain[0].data, chain[0].size);
	peer->has_certificate = true;
}

static int admit_device(struct request *request, struct peer *peer)
{
	const char *device_status;
	int status;

	if (!peer->is_checked)
		check_peer(request->connection, peer);
	if (!peer->has_certificate)
		return problem(request, 401, "no-certificate",
			       "this call needs the certificate that enrolment gave the device");
	status = storage_row(request->storage, QUERY_DEVICE_BY_CERTIFICATE,
			     STORAGE(SV_BLOB(peer->certificate_hash, 32), SV_INT(request->now)),
			     &request->device);
	if (status == -ENOENT)
		return problem(
		    request, 401, "unknown-certificate",
		    "this certificate has expired or its device was removed; install the PC anew to enrol it");
	if (status)
		return problem_from(request, status);
	device_status = json_string_value(json_object_get(request->device, "status"));
	if (!request->route->is_unrestricted &&
	    (!strcmp(device_status, "revoked") || !strcmp(device_status, "lost")))
		return problem(request, 403, "device-restricted",
			       "this device is %s: it may only fetch its state and commands",
			       device_status);
	if (!limits_take(request->server->limits, LIMIT_DEVICE, request_device(request),
			 request->now))
		return problem(request, 429, "too-many",
			       "too many calls from this device; wait a minute");
	return 0;
}

static int admit_person(struct request *request)
{
	const char *header = request_header(request, "Authorization");
	uint8_t hash[32];
	json_t *row;
	int status;

	if (!header || strncasecmp(header, "Bearer ", 7) || strlen(header) > 200)
		return problem(request, 401, "no-token", "log in first: bulkhead server login URL");
	request_hash(header + 7, hash);
	status = storage_row(request->storage, QUERY_SESSION_FIND,
			     STORAGE(SV_BLOB(hash, sizeof(hash)), SV_INT(request->now)), &row);
	if (status == -ENOENT)
		return problem(request, 401, "bad-token",
			       "the session has ended; log in again: bulkhead server login URL");
	if (status)
		return problem_from(request, status);
	snprintf(request->account, sizeof(request->account), "%s",
		 json_string_value(json_object_get(row, "account")));
	request->permissions = route_permissions(json_string_value(json_object_get(row, "role")));
	/* A one-time password opens one door: the one to a password of one's own. */
	if (json_is_true(json_object_get(row, "must_change")))
		request->permissions &= PERMIT_SELF;
	json_decref(row);
	if (!(request->permissions & (int)request->route->permission))
		return problem(request, 403, "forbidden",
			       request->permissions == PERMIT_SELF
				   ? "choose a password of your own first: bulkhead server password"
				   : "the role of this account does not allow it; ask an owner");
	return 0;
}

int caller_admit(struct request *request, struct peer *peer)
{
	request->caller = request->route->caller;
	if (request->route->is_limited &&
	    !limits_take(request->server->limits, LIMIT_OPEN, request->address, request->now))
		return problem(request, 429, "too-many",
			       "too many attempts from this address; wait a minute");
	if (request->caller == CALLER_DEVICE)
		return admit_device(request, peer);
	return request->caller == CALLER_PERSON ? admit_person(request) : 0;
}
