/* fixture.h: a real server on loopback over a fresh directory, with a company's roles published,
 * for tests. */
#ifndef TESTS_SERVER_FIXTURE_H
#define TESTS_SERVER_FIXTURE_H

#include "client.h"
#include "company.h"
#include "server/server.h"

#define FIXTURE_PASSWORD "correct horse battery"

struct fixture {
	char directory[256];
	struct server_options options;
	struct server *server;
	struct client admin;
	struct company company; /* its server key is the server's own */
};

/** Starts everything; ends the test if anything fails. */
void fixture_open(struct fixture *fixture);

/** Makes the staff and the image that tests speak of: alice of group sales, bob, image "work" with a release, for sales. */
void fixture_staff(struct fixture *fixture);

/** Makes the least that a PC needs: the user alice, the image "work" with two releases. Nothing is assigned. */
void fixture_alice(struct fixture *fixture);

/** Sends a pack of the disk alice-work whole, with its hash. Returns the HTTP status. */
long fixture_send_pack(struct client *device, const char *pack, const void *bytes, size_t byte_count);

/** Stops, and removes the directory. */
void fixture_close(struct fixture *fixture);

/** Stops the server and starts it again over the same directory; the administrator stays logged in.
 */
void fixture_restart(struct fixture *fixture);

/** Makes an enrolment token for @user (or NULL) and enrols @device with it. */
void fixture_enrol(struct fixture *fixture, struct client *device, const char *user,
		   const char *name);

/** Uploads a manifest and publishes the next catalogue of "work" with releases 1 to @releases, all
 * deployed. */
void fixture_publish(struct fixture *fixture, uint64_t version, uint64_t releases);

/** An order for @device that @count officers signed, as a command's body; freed by the caller. */
char *fixture_order(struct fixture *fixture, const char *device, uint64_t sequence, size_t count,
		    bool hold);

/** Fetches a device's state through @memory. Returns memory_accept_state()'s answer. */
int fixture_state(struct client *device, struct memory *memory, struct state *state);

/** The company's memory of @device. */
void fixture_memory(struct fixture *fixture, const char *device, struct memory *memory);

#endif
