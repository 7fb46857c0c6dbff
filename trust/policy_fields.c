/* policy_fields.c: the table of policy fields: one row a field. `bulkhead policy fields` shows it to
 * people; whatever has to say who enforces a field asks it here. */
#include "trust/policy.h"

static const char *const persistence_words[] = {"keep", "discard", NULL};
static const char *const update_words[] = {"when-idle", "at-start", "now", NULL};
static const char *const network_words[] = {"open", "company", "none", NULL};
static const char *const direction_words[] = {"in", "out", NULL};
static const char *const usb_words[] = {"input",   "audio",  "camera",	   "printer", "storage",
					"network", "serial", "smart-card", "other",   NULL};

#define USB_USUAL 0x87 /* input, audio, camera, smart-card */

const struct policy_field_rule policy_field_rules[POLICY_FIELD_COUNT] = {
    [POLICY_PERSISTENCE] = {"persistence", POLICY_CHOICE, POLICY_UPPERMOST, 0, 0, persistence_words,
			    0, "what happens to the system disk's changes at shutdown", "agent"},
    [POLICY_PREVIOUS_HOURS] = {"previous_hours", POLICY_NUMBER, POLICY_UPPERMOST, 0, 8760, NULL,
			       336, "hours the previous version stays for going back", "agent"},
    [POLICY_ROLLBACK] = {"rollback", POLICY_BOOLEAN, POLICY_UPPERMOST, 0, 1, NULL, 1,
			 "the user may go back to the previous version", "agent"},
    [POLICY_UPDATE_MODE] = {"update_mode", POLICY_CHOICE, POLICY_UPPERMOST, 0, 0, update_words, 1,
			    "when a new version takes over", "agent"},
    [POLICY_BANDWIDTH_KIB] = {"bandwidth_kib", POLICY_NUMBER, POLICY_UPPERMOST, 0, 1 << 30, NULL, 0,
			      "KiB a second for transfers, 0 = no limit", "agent"},
    [POLICY_AUTOSTART] = {"autostart", POLICY_BOOLEAN, POLICY_UPPERMOST, 0, 1, NULL, 0,
			  "start the guest when the PC starts, or when it has arrived", "agent"},
    [POLICY_BACKUP_MINUTES] = {"backup_minutes", POLICY_NUMBER, POLICY_UPPERMOST, 0, 525600, NULL,
			       240, "minutes between backups, 0 = none", "agent"},
    [POLICY_BACKUP_WINDOW] = {"backup_window", POLICY_TEXT, POLICY_UPPERMOST, 0, 11, NULL, 0,
			      "HH:MM-HH:MM local time, empty = always", "agent"},
    [POLICY_TRANSFER_WINDOW] = {"transfer_window", POLICY_TEXT, POLICY_UPPERMOST, 0, 11, NULL, 0,
				"HH:MM-HH:MM local time in which new versions arrive, empty = always",
				"agent"},
    [POLICY_QUOTA_GIB] = {"quota_gib", POLICY_NUMBER, POLICY_UPPERMOST, 0, 1 << 20, NULL, 0,
			  "GiB for the company's guests, 0 = no limit", "agent"},
    [POLICY_WIPE_ON_THEFT] = {"wipe_on_theft", POLICY_BOOLEAN, POLICY_UPPERMOST, 0, 1, NULL, 0,
			      "a theft report releases a wipe that officers signed in advance",
			      "server, vault"},
    [POLICY_HOST_NAME] = {"host_name", POLICY_TEXT, POLICY_UPPERMOST, 0, 63, NULL, 0,
			  "pattern of the guest's host name: %d device, %u user", "agent"},
    [POLICY_CLOUD_CONFIG] = {"cloud_config", POLICY_TEXT, POLICY_UPPERMOST, 0, POLICY_TEXT_MAX - 1,
			     NULL, 0, "cloud-init user-data of the configuration disk", "agent"},
    [POLICY_LEASE_DAYS] = {"lease_days", POLICY_NUMBER, POLICY_LEAST, 1, 3650, NULL, 30,
			   "days a PC works without the server", "vault"},
    [POLICY_LEASE_POWERED_HOURS] = {"lease_powered_hours", POLICY_NUMBER, POLICY_LEAST, 1, 87600,
				    NULL, 720, "hours of running without the server", "vault"},
    [POLICY_LEASE_STARTS] = {"lease_starts", POLICY_NUMBER, POLICY_LEAST, 1, 100000, NULL, 1000,
			     "starts without the server", "vault"},
    [POLICY_NETWORK] = {"network", POLICY_CHOICE, POLICY_MOST, 0, 0, network_words, 0,
			"what the guest reaches", "agent, by the PC's network set-up"},
    [POLICY_USB] = {"usb", POLICY_SET, POLICY_COMMON, 0, 0, usb_words, USB_USUAL,
		    "classes of USB devices that the guest may get", NULL},
    [POLICY_CLIPBOARD] = {"clipboard", POLICY_SET, POLICY_COMMON, 0, 0, direction_words, 0,
			  "directions in which the clipboard passes", NULL},
    [POLICY_FILES] = {"files", POLICY_SET, POLICY_COMMON, 0, 0, direction_words, 0,
		      "directions in which files pass", NULL},
    [POLICY_SCREEN_CAPTURE] = {"screen_capture", POLICY_BOOLEAN, POLICY_LEAST, 0, 1, NULL, 0,
			       "other programs may record the guest's screen", NULL},
    [POLICY_OWN_IMAGES] = {"own_images", POLICY_BOOLEAN, POLICY_LEAST, 0, 1, NULL, 0,
			   "the user may start published images that nobody assigned",
			   "server, agent"},
};

const char *policy_enforcer(enum policy_field field)
{
	const char *by = policy_field_rules[field].enforced_by;

	return by ? by : "not enforced by this version";
}
