// Makes mongod a replica set (change streams need one) and waits for its primary. Safe to repeat.
const uri = `mongodb://admin:${process.env.MONGO_ADMIN_PASSWORD}@mongo:27017/?directConnection=true&authSource=admin`;
const deadline = Date.now() + 120000;
const NOT_YET_INITIALIZED = 94;

function primary() {
  const admin = connect(uri).getSiblingDB("admin");
  try {
    admin.runCommand({ replSetGetStatus: 1 });
  } catch (error) {
    if (error.code !== NOT_YET_INITIALIZED) throw error;
    admin.runCommand({ replSetInitiate: { _id: "rs0", members: [{ _id: 0, host: "mongo:27017" }] } });
  }
  return admin.runCommand({ hello: 1 }).isWritablePrimary;
}

let reason = "not primary yet";
while (Date.now() < deadline) {
  try {
    if (primary()) {
      print("rs0 has a primary");
      quit(0);
    }
  } catch (error) {
    // mongod restarts once while its first user is made
    reason = error.message;
  }
  sleep(500);
}
print(`no primary within 120 s: ${reason}`);
quit(1);
