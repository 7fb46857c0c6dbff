/* Parts of the agent that need no server: identity and its disk, portable guests, configuration. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent_config.h"
#include "agent_machine.h"
#include "fat_image.h"
#include "fixture.h"
#include "handover.h"
#include "identity.h"
#include "passed_file.h"
#include "phrase.h"
#include "portable.h"

static struct identity_request request_of(unsigned char first)
{
	struct identity_request request = {.guest = "work",
					   .device = "d-17",
					   .user = "alice",
					   .host_pattern = "",
					   .cloud_config = ""};

	request.key[0] = first;
	return request;
}

static void two_pcs_with_one_image_differ(void **state)
{
	struct identity_request here = request_of(1), there = request_of(2);
	char first[33], second[33], again[33];

	identity_machine_id(&here, first);
	identity_machine_id(&there, second);
	identity_machine_id(&here, again);
	assert_string_not_equal(first, second);
	assert_string_equal(first, again);
	assert_int_equal(strlen(first), 32);
}

static void host_name_follows_the_pattern_and_stays_a_host_name(void **state)
{
	struct identity_request request = request_of(1);
	char host[IDENTITY_HOST_MAX];

	identity_host_name(&request, host);
	assert_string_equal(host, "work-d-17");
	request.host_pattern = "PC_%u..%d-";
	identity_host_name(&request, host);
	assert_string_equal(host, "pc-alice-d-17");
	request.host_pattern = "///";
	identity_host_name(&request, host);
	assert_string_equal(host, "guest");
	request.host_pattern = "%u%u%u%u%u%u%u%u%u%u%u%u%u%u%u%u%u%u";
	identity_host_name(&request, host);
	assert_int_equal(strlen(host), 63);
}

/** Runs a shell command; returns its exit status. */
static int shell(const char *directory, const char *command)
{
	char line[512];
	int status;

	snprintf(line, sizeof(line), "cd %s && { %s; } >/dev/null 2>&1", directory, command);
	status = system(line);
	return status == -1 ? -1 : WEXITSTATUS(status);
}

static void configuration_disk_is_one_that_others_can_read(void **state)
{
	struct identity_request request = request_of(3);
	unsigned char *image = malloc(FAT_IMAGE_BYTES);
	char directory[64], path[96], machine_id[33], line[256];
	FILE *file;

	request.cloud_config = "#cloud-config\npackages: [vim]\n";
	assert_int_equal(identity_write_disk(&request, image), 0);
	fixture_directory(directory);
	snprintf(path, sizeof(path), "%s/config.img", directory);
	file = fopen(path, "w");
	fwrite(image, 1, FAT_IMAGE_BYTES, file);
	fclose(file);
	free(image);
	assert_int_equal(shell(directory, "/usr/sbin/fsck.vfat -n config.img"), 0);
	assert_int_equal(shell(directory, "mcopy -i config.img '::*' ."), 0);
	identity_machine_id(&request, machine_id);
	snprintf(line, sizeof(line),
		 "grep -q 'instance-id: %s' meta-data && grep -q local-hostname: meta-data",
		 machine_id);
	assert_int_equal(shell(directory, line), 0);
	assert_int_equal(
	    shell(directory, "grep -q vim user-data && grep -q '<ComputerName>' unattend.xml"), 0);
	/* OpenSSH itself takes the host key, and its public half is the one beside it. */
	assert_int_equal(
	    shell(directory, "command -v ssh-keygen") == 0
		? shell(directory,
			"sed -n '/BEGIN/,/END/s/^    //p' vendor-data > key && chmod 600 key && "
			"test \"$(ssh-keygen -y -f key | cut -d' ' -f2)\" = "
			"\"$(sed -n 's/.*ed25519_public: ssh-ed25519 //p' vendor-data)\"")
		: 0,
	    0);
	assert_int_equal(shell(directory, "mlabel -s -i config.img :: | grep -q CIDATA"), 0);
	fixture_remove(directory);
}

static void too_much_cloud_config_is_refused(void **state)
{
	struct identity_request request = request_of(3);
	unsigned char *image = malloc(FAT_IMAGE_BYTES);
	char *long_text = malloc(2 * FAT_IMAGE_BYTES);

	memset(long_text, 'x', 2 * FAT_IMAGE_BYTES - 1);
	long_text[2 * FAT_IMAGE_BYTES - 1] = '\0';
	request.cloud_config = long_text;
	assert_int_equal(identity_write_disk(&request, image), -ENOSPC);
	free(long_text);
	free(image);
}

/* ---- portable guests ---- */

static char portable_directory[64];

static int make_file(void *context, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/in-%s", portable_directory, name);
	return open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
}

static int open_in(const char *name, int flags)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", portable_directory, name);
	return open(path, flags, 0600);
}

static int write_guest(const char *phrase)
{
	struct portable_file files[2] = {{"system.disk", open_in("a", O_RDWR | O_CREAT | O_TRUNC)},
					 {"user.disk", open_in("b", O_RDWR | O_CREAT | O_TRUNC)}};
	json_t *description = json_pack("{s:s}", "guest", "personal");
	int out = open_in("out", O_RDWR | O_CREAT | O_TRUNC), result;

	assert_int_equal(ftruncate(files[0].file, 64 << 20), 0);
	assert_int_equal(pwrite(files[0].file, "begin", 5, 0), 5);
	assert_int_equal(pwrite(files[0].file, "far in", 6, 33 << 20), 6);
	assert_int_equal(pwrite(files[1].file, "data", 4, 0), 4);
	result = portable_write(out, phrase, KEY_COPY_COST_LEAST, description, files, 2, NULL);
	json_decref(description);
	close(files[0].file);
	close(files[1].file);
	close(out);
	return result;
}

static int read_guest(const char *phrase)
{
	json_t *description = NULL;
	int in = open_in("out", O_RDONLY), result;

	result = portable_read(in, phrase, &description, make_file, NULL, NULL);
	json_decref(description);
	close(in);
	return result;
}

static int make_portable(void **state)
{
	fixture_directory(portable_directory);
	return 0;
}

static int remove_portable(void **state)
{
	fixture_remove(portable_directory);
	return 0;
}

static void exported_guest_comes_back_whole_and_sparse(void **state)
{
	char phrase[PHRASE_TEXT_BYTES], other[PHRASE_TEXT_BYTES], bytes[8] = "";
	struct stat status;
	int file;

	phrase_generate(phrase);
	phrase_generate(other);
	assert_int_equal(write_guest(phrase), 0);
	assert_int_equal(read_guest(other), -EKEYREJECTED);
	assert_int_equal(read_guest(phrase), 0);
	file = open_in("in-system.disk", O_RDONLY);
	assert_int_equal(fstat(file, &status), 0);
	assert_int_equal(status.st_size, 64 << 20);
	assert_true(status.st_blocks * 512 < 8 << 20);
	assert_int_equal(pread(file, bytes, 6, 33 << 20), 6);
	assert_memory_equal(bytes, "far in", 6);
	close(file);
	/* Nothing of it is readable in the file. */
	assert_int_not_equal(shell(portable_directory, "grep -q 'far in' out"), 0);
}

static void changed_or_cut_export_is_refused(void **state)
{
	char phrase[PHRASE_TEXT_BYTES];
	struct stat status;
	unsigned char byte;
	int file;

	phrase_generate(phrase);
	assert_int_equal(write_guest(phrase), 0);
	file = open_in("out", O_RDWR);
	assert_int_equal(fstat(file, &status), 0);
	/* Cut after every message boundary there is, and elsewhere: without the last message
	 * nothing counts. */
	for (off_t cut = status.st_size - 1; cut > 0; cut -= 97) {
		assert_int_equal(ftruncate(file, cut), 0);
		assert_true(read_guest(phrase) != 0);
		if (cut < status.st_size - 400)
			break;
	}
	close(file);
	assert_int_equal(write_guest(phrase), 0);
	file = open_in("out", O_RDWR);
	assert_int_equal(pread(file, &byte, 1, status.st_size - 30), 1);
	byte ^= 1;
	assert_int_equal(pwrite(file, &byte, 1, status.st_size - 30), 1);
	close(file);
	assert_int_equal(read_guest(phrase), -EBADMSG);
}

/* ---- configuration ---- */

static int parse(const char *text, struct agent_config *config, char error[160])
{
	return agent_config_parse(text, strlen(text), config, error, 160);
}

static void misspelt_configuration_is_noticed(void **state)
{
	struct agent_config config;
	char error[160];

	assert_int_equal(parse("{\"poll_second\": 3}", &config, error), -EBADMSG);
	assert_non_null(strstr(error, "does not exist"));
	assert_int_equal(parse("{\"poll_seconds\": 0}", &config, error), -EBADMSG);
	assert_int_equal(parse("{\"data\": \"relative\"}", &config, error), -EBADMSG);
	assert_int_equal(parse("{\"monitor\": \"qemu\"}", &config, error), -EBADMSG);
	assert_int_equal(parse("{\"data\": \"/a\", \"data\": \"/b\"}", &config, error), -EBADMSG);
	assert_int_equal(parse("{}", &config, error), 0);
	assert_int_equal(config.poll_seconds, 300);
	agent_config_release(&config);
}

static void command_is_filled_in_word_by_word(void **state)
{
	const struct agent_value values[] = {{"name", "a b; rm"}, {"user", ""}, {NULL, NULL}};
	struct agent_config config;
	char error[160], **words;

	assert_int_equal(
	    parse("{\"monitor\": [\"run\", \"--name=%{name}\", \"--user=%{user}?\", \"100%\"]}",
		  &config, error),
	    0);
	words = agent_config_fill(&config.monitor, values);
	assert_non_null(words);
	assert_string_equal(words[1], "--name=a b; rm");
	assert_string_equal(words[2], "100%");
	assert_null(words[3]);
	agent_config_free_words(words);
	agent_config_release(&config);
	assert_int_equal(parse("{\"monitor\": [\"run\", \"%{nobody}\"]}", &config, error), 0);
	assert_null(agent_config_fill(&config.monitor, values));
	assert_int_equal(errno, EINVAL);
	agent_config_release(&config);
}

static void assert_resolver(const char *state_text, const char *expected)
{
	char path[] = "/tmp/bulkhead-resolver.XXXXXX", address[16] = "unset";
	int file = mkstemp(path);

	assert_true(file >= 0);
	assert_int_equal(write(file, state_text, strlen(state_text)), (ssize_t)strlen(state_text));
	close(file);
	agent_machine_find_resolver(path, address);
	unlink(path);
	assert_string_equal(address, expected);
}

static void first_name_server_by_ipv4_is_what_guests_are_told(void **state)
{
	char address[16] = "unset";

	assert_resolver("OPER_STATE=routable\nDNS=fe80::1 10.0.2.3 10.0.2.4\nNTP=\n", "10.0.2.3");
	assert_resolver("DNS=\nDNS=192.168.178.1\n", "192.168.178.1");
	assert_resolver("DNS=fe80::1 --tap 1.2.3\nNTP=1.2.3.4\n", "");
	agent_machine_find_resolver("/nonexistent", address);
	assert_string_equal(address, "");
}

static void a_monitor_shows_its_guest_or_ends(void **state)
{
	int ours, theirs, guest, file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const uint32_t message = 0;
	uint32_t answer = 1;

	assert_int_equal(handover_make(&ours, &theirs), 0);
	assert_int_equal(passed_file_send(theirs, &message, sizeof(message), file), sizeof(message));
	assert_int_equal(handover_wait(ours, &guest), 0);
	assert_true(guest >= 0 && guest != file);
	close(guest);
	assert_int_equal(handover_go_on(ours), 0);
	assert_int_equal(recv(theirs, &answer, sizeof(answer), 0), sizeof(answer));
	assert_int_equal(answer, 0);
	/* On stock KVM there is none to show; a shorter message is none of a monitor's. */
	assert_int_equal(passed_file_send(theirs, &message, sizeof(message), -1), sizeof(message));
	assert_int_equal(handover_wait(ours, &guest), 0);
	assert_int_equal(guest, -1);
	assert_int_equal(passed_file_send(theirs, &message, 1, file), 1);
	assert_int_equal(handover_wait(ours, &guest), -ESRCH);
	close(guest);
	close(theirs);
	assert_int_equal(handover_wait(ours, &guest), -ESRCH);
	assert_true(handover_go_on(ours) < 0);
	close(ours);
	close(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(two_pcs_with_one_image_differ),
	    cmocka_unit_test(host_name_follows_the_pattern_and_stays_a_host_name),
	    cmocka_unit_test(configuration_disk_is_one_that_others_can_read),
	    cmocka_unit_test(too_much_cloud_config_is_refused),
	    cmocka_unit_test_setup_teardown(exported_guest_comes_back_whole_and_sparse,
					    make_portable, remove_portable),
	    cmocka_unit_test_setup_teardown(changed_or_cut_export_is_refused, make_portable,
					    remove_portable),
	    cmocka_unit_test(misspelt_configuration_is_noticed),
	    cmocka_unit_test(first_name_server_by_ipv4_is_what_guests_are_told),
	    cmocka_unit_test(command_is_filled_in_word_by_word),
	    cmocka_unit_test(a_monitor_shows_its_guest_or_ends),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests_name("agent_parts", tests, NULL, NULL);
}
